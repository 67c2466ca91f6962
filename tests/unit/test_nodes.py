import json

import pytest

from app.domain.work import Stage
from app.live.memory import MemoryBoard
from app.nodes import NODES, NodeState, read_nodes
from app.own_node import OwnNode
from app.schemas import WorkMessage
from tests.support.clock import HandClock

MESSAGE = WorkMessage(
    job_id="job", plan_hash="abc", stage=Stage.TILE, image=1, phase=2, index=7, more=[8]
)


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def board(clock):
    return MemoryBoard(clock)


@pytest.fixture
def node(clock):
    node = OwnNode(clock)
    node.introduce(node="w1@host", pid=4, pool="gpu", labels={"rack": "3"}, weight=2.0)
    return node


def show(board, node):
    board.show(NODES, "w1@host", node.record(), ttl_s=600)
    return read_nodes(board, 2.0)[0]


def told(node):
    return [node.outbox.get(timeout=0) for _ in range(node.outbox.qsize())]


def test_a_node_shows_who_it_is_and_what_it_has(board, node):
    node.describe_device(lambda: {"device": "cuda:0", "memory_gb": 24.0, "free_memory_gb": 20.5})
    node.describe_models(lambda: ["atlas"])

    shown = show(board, node)

    assert (shown.node, shown.pid, shown.pools) == ("w1@host", 4, ["gpu"])
    assert (shown.device, shown.memory_gb, shown.free_memory_gb) == ("cuda:0", 24.0, 20.5)
    assert (shown.models, shown.labels, shown.weight) == (["atlas"], {"rack": "3"}, 2.0)
    assert (shown.state, shown.current, shown.units_done) == (NodeState.READY, None, 0)


def test_a_record_is_plain_json(node):
    with node.working(MESSAGE):
        text = json.dumps(node.record())

    assert json.loads(text)["state"] == "ready"


def test_a_node_shows_the_unit_it_works_on_and_for_how_long(board, node, clock):
    with node.working(MESSAGE):
        clock.now_s += 1.5
        current = show(board, node).current
        assert node.running_s() == 1.5

    assert current.model_dump() == {
        "job_id": "job",
        "plan_hash": "abc",
        "stage": "tile",
        "image": 1,
        "phase": 2,
        "index": 7,
        "more": [8],
        "elapsed_s": 1.5,
    }
    assert show(board, node).current is None
    assert node.running_s() == 0


def test_a_node_that_has_begun_the_next_message_shows_both(board, node, clock):
    with node.working(MESSAGE):
        clock.now_s += 5
        with node.working(MESSAGE.model_copy(update={"index": 9, "more": []})):
            clock.now_s += 1
            shown = show(board, node)
            assert node.running_s() == 6

    assert [work.index for work in shown.current.works] == [9]
    assert [work.index for work in shown.earlier.works] == [7, 8]
    assert [unit.elapsed_s for unit in shown.at_hand] == [1, 6]


def test_the_time_of_a_message_counts_from_when_it_was_begun(node, clock):
    waiting = MESSAGE.model_copy(update={"index": 9})
    with node.working(MESSAGE), node.working(waiting):
        clock.now_s += 5
        node.begin(waiting)
        clock.now_s += 1
        record = node.record()

    assert (record["current"]["elapsed_s"], record["earlier"]["elapsed_s"]) == (1, 6)


def test_the_next_message_is_the_current_one_once_the_last_is_done(board, node):
    last, following = node.working(MESSAGE), node.working(MESSAGE.model_copy(update={"index": 9}))
    last.__enter__()
    following.__enter__()
    last.__exit__(None, None, None)

    shown = show(board, node)

    assert (shown.current.index, shown.earlier) == (9, None)


def test_a_unit_that_is_begun_asks_to_be_shown_at_once(node):
    with node.working(MESSAGE):
        assert told(node) == [None]


def test_a_node_shows_all_units_of_a_batch(board, node, clock):
    with node.working(MESSAGE.model_copy(update={"more": [8, 9]})):
        clock.now_s += 1.5
        current = show(board, node).current

    assert [work.index for work in current.works] == [7, 8, 9]
    assert current.elapsed_s_each == 0.5


def test_a_unit_that_raises_is_not_worked_on_any_more(node):
    with pytest.raises(ValueError, match="broken"), node.working(MESSAGE):
        raise ValueError("broken")

    assert node.record()["current"] is None


def test_the_end_of_a_unit_is_told_with_what_it_cost(node):
    work = MESSAGE.works[1]

    node.tell_unit(MESSAGE, work, "rendered", seconds=0.5, device="cuda")

    assert told(node) == [
        {
            "kind": "unit",
            "node": "w1@host",
            "job_id": "job",
            "plan_hash": "abc",
            "stage": "tile",
            "image": 1,
            "phase": 2,
            "index": 8,
            "status": "rendered",
            "seconds": 0.5,
            "device": "cuda",
        }
    ]


def test_only_rendered_units_are_counted(board, node):
    for status in ("rendered", "present", "failed", "abandoned", "rendered"):
        node.tell_unit(MESSAGE, MESSAGE.work, status)

    assert show(board, node).units_done == 2


def test_a_pause_is_shown_with_its_reason_until_it_ends(board, node):
    node.pause("GPU memory 97 %")
    paused = show(board, node)
    node.pause("")

    assert (paused.state, paused.reason) == (NodeState.PAUSED, "GPU memory 97 %")
    assert (show(board, node).state, show(board, node).reason) == (NodeState.READY, "")


def test_a_draining_node_stays_so_whatever_its_load(board, node):
    node.pause("CPU 99 %")
    node.drain("SIGTERM")
    node.pause("")

    shown = show(board, node)
    assert (shown.state, shown.reason, node.is_draining) == (NodeState.DRAINING, "SIGTERM", True)


def test_every_change_of_state_asks_to_be_shown_at_once(node):
    node.pause("CPU 99 %")
    node.pause("")
    node.drain("SIGTERM")

    assert told(node) == [None, None, None]


@pytest.mark.parametrize(
    ("silent_s", "is_lost"), [(0.0, False), (6.0, False), (6.1, True)], ids=["new", "third", "lost"]
)
def test_a_node_that_is_silent_for_three_heartbeats_is_lost(board, node, clock, silent_s, is_lost):
    show(board, node)
    clock.now_s += silent_s

    [found] = read_nodes(board, 2.0)

    assert (found.is_lost, round(found.age_s, 3)) == (is_lost, silent_s)


def test_a_lost_node_that_shows_itself_again_is_back(board, node, clock):
    show(board, node)
    clock.now_s += 60
    assert read_nodes(board, 2.0)[0].is_lost

    assert not show(board, node).is_lost


def test_nodes_come_by_name_and_those_of_another_version_are_left_out(board, node):
    for name in ("b", "a"):
        board.show(NODES, name, node.record() | {"node": name, "new field": 1}, ttl_s=60)
    board.show(NODES, "c", {"id": "c"}, ttl_s=60)

    assert [found.node for found in read_nodes(board, 2.0)] == ["a", "b"]


def test_a_node_that_leaves_drains_and_tells_since_when(board, node, clock):
    assert (node.is_leaving, node.leaving_s()) == (False, 0.0)

    node.leave("spot notice")
    clock.now_s += 3

    assert (node.is_leaving, node.leaving_s()) == (True, 3.0)
    assert show(board, node).reason == "spot notice"


def test_a_control_worker_shows_the_step_it_is_at_and_for_how_long(board, node, clock):
    with node.at_step("job", "merge 0 of image 2", 2):
        clock.now_s += 1.5
        step = show(board, node).step
        assert node.running_s() == 1.5

    assert step.model_dump() == {
        "job_id": "job",
        "label": "merge 0 of image 2",
        "image": 2,
        "elapsed_s": 1.5,
    }
    assert show(board, node).step is None
    assert node.running_s() == 0


def test_of_a_unit_and_a_step_at_hand_the_one_begun_first_is_the_longest(node, clock):
    with node.at_step("job", "plan"):
        clock.now_s += 1
        with node.working(MESSAGE):
            clock.now_s += 1
            assert node.longest()["label"] == "plan"

    assert node.longest() is None
