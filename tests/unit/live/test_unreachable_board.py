import socket
import time

import pytest

from app.domain.errors import BrokerUnavailableError
from app.live.redis import RedisBoard
from tests.contract.test_live_board import CALLS


@pytest.fixture
def silent_port():
    """A server that accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_board_that_is_down_is_told_in_one_sentence_without_its_password(call):
    board = RedisBoard("redis://:secret@127.0.0.1:1/0", prefix="t:", timeout_s=1.0)

    with pytest.raises(BrokerUnavailableError) as caught:
        call(board)

    place = "redis://:**@127.0.0.1:1/0"
    assert str(caught.value) == f"live board {place} does not answer (ConnectionError)"


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_board_that_is_silent_costs_no_more_than_two_timeouts(call, silent_port):
    board = RedisBoard(f"redis://127.0.0.1:{silent_port}/0", prefix="t:", timeout_s=0.2)
    began = time.monotonic()

    with pytest.raises(BrokerUnavailableError, match=r"does not answer \(TimeoutError\)$"):
        call(board)

    assert time.monotonic() - began < 2.0
