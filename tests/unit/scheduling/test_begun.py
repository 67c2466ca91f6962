"""What nodes have of a job, and for how long."""

import pytest

from app.domain.work import Stage, Work
from app.scheduling.begun import Begun, begun
from tests.unit.domain.cards import plan as plan_of
from tests.unit.scheduling.jobs import before_tiles, opened
from tests.unit.scheduling.scene import SMALL
from tests.unit.scheduling.test_forecast import begin, current, node

PLAN = plan_of(**SMALL)


@pytest.fixture
def job():
    """All before its tiles is done."""
    return opened(PLAN, *before_tiles(PLAN))[0]


def tile(index):
    return Work(Stage.TILE, 0, index=index)


def found(job, *nodes):
    """What *nodes* have of *job*, each unit taking ten seconds."""
    return begun(job, nodes, lambda work, node: 10.0)


def test_the_time_so_far_is_over(job):
    begin(job, 1)

    shown = node(shown=current(0, elapsed_s=3.0), age_s=1.0)

    assert found(job, shown) == {"w1@host": Begun((tile(0),), 6.0)}


@pytest.mark.parametrize(
    ("elapsed_s", "left_s"), [(9.0, 1.0), (12.0, 0.0), (16.0, 8.0), (800.0, 10.0)]
)
def test_a_unit_is_done_any_moment_unless_it_takes_much_longer(job, elapsed_s, left_s):
    begin(job, 1)

    shown = node(shown=current(0, elapsed_s=elapsed_s))

    assert found(job, shown) == {"w1@host": Begun((tile(0),), left_s)}


def test_what_is_done_and_being_stored_takes_no_time(job):
    begin(job, 2)
    job.flying.pop(tile(0))

    shown = node(shown=current(1, elapsed_s=1.0), earlier=current(0, elapsed_s=30.0))

    assert found(job, shown) == {"w1@host": Begun((tile(1),), 9.0)}


def test_of_a_message_only_what_is_not_done_counts(job):
    begin(job, 3)
    job.flying.pop(tile(0))

    shown = node(shown=current(0, 1, 2, elapsed_s=12.0))

    assert found(job, shown) == {"w1@host": Begun((tile(1), tile(2)), 18.0)}


def test_what_is_being_stored_and_what_comes_after_it_are_both_at_hand(job):
    begin(job, 2)

    shown = node(shown=current(1, elapsed_s=1.0), earlier=current(0, elapsed_s=10.0))

    assert found(job, shown) == {"w1@host": Begun((tile(0), tile(1)), 9.0)}


@pytest.mark.parametrize("hung", [1, 2])
def test_a_unit_that_two_nodes_have_is_with_whom_it_ends_first(job, hung):
    begin(job, 2)
    nodes = [node(hung, shown=current(0, elapsed_s=600.0))]
    nodes += [node(3 - hung, shown=current(0, elapsed_s=9.0))]

    assert found(job, *nodes) == {f"w{3 - hung}@host": Begun((tile(0),), 1.0)}


def test_what_is_shown_of_a_plan_that_was_replaced_does_not_count(job):
    begin(job, 1)
    shown = current(400, elapsed_s=1.0).model_copy(update={"plan_hash": "old"})

    assert found(job, node(shown=shown)) == {}


def test_who_shows_what_is_done_is_half_through_another(job):
    begin(job, 3)
    nodes = [
        node(1, shown=current(0, elapsed_s=3.0)),
        node(2, shown=current(7, elapsed_s=9.0)),
        node(3, shown=current(1, elapsed_s=9.0, job_id="other")),
    ]

    assert found(job, *nodes) == {
        "w1@host": Begun((tile(0),), 7.0),
        "w2@host": Begun((tile(1),), 5.0),
    }


def test_who_shows_what_is_done_has_nothing_where_no_other_unit_is_left(job):
    begin(job, 1)
    nodes = [node(1, shown=current(0, elapsed_s=1.0))]
    nodes += [node(number, shown=current(number, elapsed_s=9.0)) for number in range(2, 9)]

    assert set(found(job, *nodes)) == {"w1@host"}


def test_who_shows_nothing_has_nothing(job):
    begin(job, 1)

    assert found(job, node(1), node(2)) == found(job) == {}
