import signal

import pytest
from celery.worker import state

from app.own_node import OwnNode
from app.settings import Settings
from workers.notice import heed_spot_notice


@pytest.fixture
def node():
    return OwnNode()


@pytest.fixture
def handlers():
    """Whatever a test does to signals and to Celery's stop mark is taken back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    mark = state.should_stop
    yield
    state.should_stop = mark
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_a_spot_notice_stops_the_worker_and_its_unit(node, handlers):
    heed_spot_notice(Settings(spot_signal="USR2"), node)

    signal.raise_signal(signal.SIGUSR2)

    assert node.is_leaving
    assert node.record()["state"] == "draining"
    assert node.record()["reason"] == "spot notice"
    assert state.should_stop == 0


def test_no_signal_is_touched_when_none_is_set(node, handlers):
    before = [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)]

    heed_spot_notice(Settings(spot_signal="none"), node)

    assert [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)] == before
