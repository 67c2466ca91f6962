import pytest

from app.domain.work import Stage
from app.own_node import OwnNode
from app.schemas import WorkMessage
from app.watchdog import Watchdog
from tests.support.clock import HandClock
from tests.support.waiting import wait_for

MESSAGE = WorkMessage(job_id="job", plan_hash="abc", stage=Stage.TILE, image=0, index=7)


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def node(clock):
    return OwnNode(clock)


@pytest.fixture
def exits():
    return []


@pytest.fixture
def watchdog(node, exits):
    return Watchdog(
        node, unit_timeout_s=60, spot_grace_s=20, exit_process=lambda: exits.append("exit")
    )


@pytest.mark.parametrize(("seconds", "ends"), [(59.9, []), (60.1, ["exit"])], ids=["short", "long"])
def test_a_unit_that_takes_too_long_ends_the_process(watchdog, node, clock, exits, seconds, ends):
    with node.working(MESSAGE):
        clock.now_s += seconds
        watchdog.look()

    assert exits == ends


def test_of_two_at_hand_the_one_that_took_too_long_is_named(watchdog, node, clock, caplog):
    second = MESSAGE.model_copy(update={"index": 9})
    with node.working(MESSAGE), node.working(second):
        clock.now_s += 30
        node.begin(second)
        clock.now_s += 31
        watchdog.look()

    assert caplog.records[0].unit["index"] == 7


def test_the_unit_that_took_too_long_is_named(watchdog, node, clock, caplog):
    with node.working(MESSAGE):
        clock.now_s += 61
        watchdog.look()

    [record] = caplog.records
    assert (record.message, record.seconds, record.limit_s) == ("unit.endless", 61.0, 60)
    assert record.unit["index"] == 7


@pytest.mark.parametrize(("seconds", "ends"), [(59.9, []), (60.1, ["exit"])], ids=["short", "long"])
def test_a_control_step_that_takes_too_long_ends_the_process(
    watchdog, node, clock, exits, seconds, ends
):
    with node.at_step("job", "merge 0 of image 0"):
        clock.now_s += seconds
        watchdog.look()

    assert exits == ends


def test_the_step_that_took_too_long_is_named(watchdog, node, clock, caplog):
    with node.at_step("job", "picture 3", 3):
        clock.now_s += 61
        watchdog.look()

    [record] = caplog.records
    assert (record.unit["job_id"], record.unit["label"]) == ("job", "picture 3")


def test_many_short_units_are_not_one_long_one(watchdog, node, clock, exits):
    for _ in range(10):
        with node.working(MESSAGE):
            clock.now_s += 30
            watchdog.look()

    assert exits == []


def test_an_idle_process_may_stay(watchdog, clock, exits):
    clock.now_s += 1e6
    watchdog.look()

    assert exits == []


@pytest.mark.parametrize(("seconds", "ends"), [(19.9, []), (20.1, ["exit"])], ids=["short", "long"])
def test_a_machine_that_leaves_does_not_wait_for_its_unit(
    watchdog, node, clock, exits, seconds, ends
):
    with node.working(MESSAGE):
        clock.now_s += 10
        node.leave("spot notice")
        clock.now_s += seconds
        watchdog.look()

    assert exits == ends


def test_a_second_notice_gives_no_more_time(watchdog, node, clock, exits):
    node.leave("spot notice")
    clock.now_s += 15
    node.leave("spot notice")
    clock.now_s += 6
    watchdog.look()

    assert exits == ["exit"]


def test_a_drain_alone_waits_for_the_unit(watchdog, node, clock, exits):
    with node.working(MESSAGE):
        node.drain("SIGTERM")
        clock.now_s += 59
        watchdog.look()

    assert exits == []


def test_the_watchdog_looks_by_itself(node, exits):
    slow = OwnNode()
    Watchdog(
        slow, unit_timeout_s=0.01, spot_grace_s=20, exit_process=lambda: exits.append("exit")
    ).start()

    with slow.working(MESSAGE):
        wait_for(lambda: exits)
