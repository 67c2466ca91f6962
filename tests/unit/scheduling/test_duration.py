from dataclasses import replace

import pytest

from app.domain.prediction import Predictor
from app.domain.work import WORKER_STAGES, image_work
from app.scheduling.duration import card_s, learned_s
from app.scheduling.shapes import shape_of
from tests.unit.domain.cards import SD15, plan

RENDER = plan(height=1024, width=1024)  # two phases of 9 tiles of 512 px, 11 and 2 steps


def taught(seconds, device, *, without=None):
    """A predictor that has seen every unit of ``RENDER`` take *seconds*."""
    predictor = Predictor()
    for group in image_work(RENDER, 0):
        for work in group:
            if work.stage in WORKER_STAGES and work.stage != without:
                predictor.observe(shape_of(RENDER, work, device), seconds)
    return predictor


def test_learned_seconds_are_those_of_all_units_of_all_pictures():
    units = 1 + 1 + 9 + 9 + 1 + 4  # base, preparation, tiles, head, cores

    assert learned_s(RENDER, taught(2.0, "cpu")) == {"cpu": pytest.approx(2.0 * units)}
    both = plan(height=1024, width=1024, count=2)
    assert learned_s(both, taught(2.0, "cpu")) == {"cpu": pytest.approx(4.0 * units)}


def test_a_device_that_has_never_done_a_stage_is_left_out():
    assert learned_s(RENDER, taught(2.0, "cpu", without="head")) == {}
    assert learned_s(RENDER, Predictor()) == {}


def test_a_cards_costs_count_every_step_of_every_tile():
    steps = sum(len(phase.steps) for phase in RENDER.phases)

    assert card_s(RENDER, replace(SD15, tile_costs=((512, 0.5), (640, 0.9)))) == 9 * steps * 0.5


@pytest.mark.parametrize("costs", [(), ((640, 0.9),)], ids=["no costs", "costs of another size"])
def test_a_card_without_the_tiles_size_tells_no_seconds(costs):
    assert card_s(RENDER, replace(SD15, tile_costs=costs)) is None
