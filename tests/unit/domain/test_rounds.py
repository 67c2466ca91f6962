import pytest

from app.domain.rounds import round_latencies
from app.domain.spec import Mode
from app.domain.work import Run, Stage, Work, unit_name
from tests.unit.domain.cards import plan

PHASED = plan(height=1024, width=1024, mode=Mode.PHASED, nsr=None)
COUNT = len(PHASED.phases)


def ran(work, start_s, end_s, *, render=PHASED, worker="left"):
    return Run(unit_name(render, work), worker, round(1000 * start_s), end_s - start_s)


def tile(phase, index, start_s, end_s, image=0):
    return ran(Work(Stage.TILE, image, phase, index), start_s, end_s)


def test_a_round_lasts_from_the_last_tile_of_a_phase_to_the_first_of_the_next():
    runs = [tile(0, 0, 0, 5), tile(0, 1, 1, 8), tile(1, 1, 8.5, 9), tile(1, 0, 8.25, 11)]

    assert round_latencies(PHASED, runs) == [0.25]


def test_after_the_last_phase_it_lasts_to_the_first_unit_of_decoding():
    assert PHASED.decode.freezes_statistics
    runs = [tile(COUNT - 1, 0, 0, 2), ran(Work(Stage.HEAD, 0), 5, 6)]

    assert round_latencies(PHASED, runs) == [3.0]


def test_every_image_and_phase_has_its_own():
    render = plan(height=1024, width=1024, mode=Mode.PHASED, nsr=None, count=2)
    runs = [
        ran(Work(Stage.TILE, image, phase), start, start + 1, render=render)
        for image, phase, start in [(0, 0, 0), (0, 1, 2), (0, 2, 5), (1, 0, 3), (1, 1, 8)]
    ]

    assert round_latencies(render, runs) == [1.0, 2.0, 4.0]


def test_a_phase_found_in_the_store_has_none():
    assert round_latencies(PHASED, [tile(1, 0, 4, 5)]) == []
    assert round_latencies(PHASED, []) == []


def test_a_tile_that_ran_again_later_ended_when_it_was_first_there():
    runs = [tile(0, 0, 0, 1), tile(1, 0, 2, 3), tile(0, 0, 1.5, 9), tile(1, 0, 1.75, 2.5)]

    assert round_latencies(PHASED, runs) == [0.75]


def test_what_was_done_before_the_tiles_is_no_round():
    runs = [ran(Work(Stage.PREPARE, 0), 0, 1), tile(0, 0, 4, 5)]

    assert round_latencies(PHASED, runs) == []


def test_clocks_that_differ_give_no_negative_wait():
    assert round_latencies(PHASED, [tile(0, 0, 0, 5), tile(1, 0, 4, 6)]) == [0.0]


@pytest.mark.parametrize("phase", range(COUNT - 1))
def test_no_phase_is_left_out(phase):
    assert round_latencies(PHASED, [tile(phase, 0, 0, 1), tile(phase + 1, 0, 2, 3)]) == [1.0]
