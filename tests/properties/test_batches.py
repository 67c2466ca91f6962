"""However a render is spread over workers, messages and batches, it is the same render."""

import numpy as np
import pytest
import torch

from app.domain.geometry import Box
from app.domain.spec import Mode, Region
from app.domain.work import Stage, Work
from app.editing import write_area
from tests.properties.test_edit import KNOWN, MASKS, edited
from tests.properties.test_engine import CARD, MODES, PICTURE, toy_plan
from tests.support.blobs import CrashingStore, kind
from tests.support.edits import painted
from tests.support.engine import ToyModel, prepare, run_phases, toy_context
from tests.support.families import family_plan, in_double_precision
from tests.support.fleet import Fleet
from workers.denoise import guided_denoiser
from workers.families.control import Control
from workers.loading import load_control, load_model
from workers.stages.tile import render_tiles

FP64, FP32 = 1e-10, 2e-4
"""How far batches and machines may move latents, in the precision of the model."""
SIZES = (1, 2, 3)


def picture_of(render):
    return PICTURE if render.starts_from_picture else None


def reference(render, model):
    """One process, one tile after the other."""
    return run_phases(toy_context(model), render, picture=picture_of(render))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_any_number_of_workers_and_any_batch_give_the_reference(mode, workers, size):
    render, model = toy_plan(mode), ToyModel(CARD)

    distributed = Fleet(model, workers=workers, size=size).render(render, picture_of(render))

    np.testing.assert_allclose(distributed, reference(render, model), rtol=0, atol=FP64)


def test_a_batch_is_one_evaluation_a_step():
    render, model = toy_plan(Mode.PHASED), CountingModel(CARD)

    Fleet(model, size=3).render(render)

    assert {len(phase.grid) for phase in render.phases} == {12}
    batches = 4 + 2  # a phase has four, of which two are delivered twice
    assert model.windows == [3] * batches * sum(len(phase.steps) for phase in render.phases)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_crash_at_any_write_changes_nothing(mode, size):
    render, model = toy_plan(mode), ToyModel(CARD)
    fleet = Fleet(model, workers=2, size=size, store=CrashingStore(FP64))

    distributed = fleet.render(render, picture_of(render))

    assert fleet.store.unacknowledged == {kind(key) for key in fleet.store.keys("")}
    assert fleet.crashes == 2 * len(fleet.store.unacknowledged)
    np.testing.assert_allclose(distributed, reference(render, model), rtol=0, atol=FP64)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_with_a_fixed_batch_every_bit_is_the_same(mode, size):
    render, model = toy_plan(mode), ToyModel(CARD, torch.float32)
    fleets = (Fleet(model, workers=workers, size=size, seed=workers) for workers in (1, 2, 5))

    one, two, five = (fleet.render(render, picture_of(render)) for fleet in fleets)

    np.testing.assert_array_equal(two, one)
    np.testing.assert_array_equal(five, one)
    np.testing.assert_allclose(one, reference(render, model), rtol=0, atol=FP32)


@pytest.mark.parametrize(
    ("mode", "size"), [*((Mode.PHASED, size) for size in SIZES), (Mode.SPOT, 3)]
)
def test_every_family_gives_the_reference_in_any_batch(family_model, mode, size):
    render = family_plan(family_model.card, mode, height=24, width=32)
    fleets = (Fleet(family_model, workers=workers, size=size, seed=workers) for workers in (2, 5))

    two, five = (fleet.render(render) for fleet in fleets)

    np.testing.assert_array_equal(five, two)
    np.testing.assert_allclose(two, reference(render, family_model), rtol=0, atol=FP32)


@pytest.mark.parametrize(("mode", "size"), [(Mode.PHASED, 2), (Mode.PHASED, 3), (Mode.SPOT, 3)])
def test_every_family_is_exact_in_double_precision(family_model, mode, size):
    exact = in_double_precision(family_model)
    render = family_plan(exact.card, mode, height=24, width=32)

    distributed = Fleet(exact, workers=2, size=size).render(render)

    np.testing.assert_allclose(distributed, reference(render, exact), rtol=0, atol=FP64)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_each_tile_of_a_batch_has_its_own_regions(mode):
    left = Region("a much longer prompt", "", Box(0, 0, 320, 240), 1.0, 64, None)
    corner = Region("short", "fog", Box(200, 100, 320, 384), 2.0, 0, None)
    render, model = toy_plan(mode, regions=(left, corner)), ToyModel(CARD)

    distributed = Fleet(model, size=3).render(render, picture_of(render))

    np.testing.assert_allclose(distributed, reference(render, model), rtol=0, atol=FP64)


def test_a_prompt_is_evaluated_for_the_tiles_it_counts_in_alone():
    region = Region("a region", "", Box(0, 0, 320, 200), 1.0, 0, None)
    render, model = toy_plan(Mode.PHASED, regions=(region,), discard=False), CountingModel(CARD)
    context = toy_context(model)
    prepare(context, render, None)
    works = [Work(Stage.TILE, 0, 0, index) for index in range(len(render.phases[0].tiles))]
    covered = [
        tile.right * 8 <= region.box.right
        for tile in render.phases[0].tiles
        if tile.left * 8 < region.box.right
    ]

    render_tiles(context, render, works, lambda: None)

    # The picture's own prompt is not evaluated for tiles that the region covers.
    assert sum(covered) > 0
    own, painted = model.windows[:2]
    assert painted - own == sum(covered)


class CountingModel(ToyModel):
    """Notes how many windows each evaluation sees."""

    def __init__(self, card):
        super().__init__(card)
        object.__setattr__(self, "windows", [])

    def predict(self, x, sigma, timestep, conditioning, control=None):
        self.windows.append(len(x))
        return super().predict(x, sigma, timestep, conditioning, control)


def test_any_part_of_a_batch_may_be_asked_for():
    render, model = toy_plan(Mode.PHASED), ToyModel(CARD)
    context = toy_context(model)
    prepare(context, render, None)
    works = [Work(Stage.TILE, 0, 0, index) for index in (0, 1, 2)]

    together = render_tiles(context, render, works, lambda: None)

    alone = [render_tiles(context, render, [work], lambda: None)[0] for work in works]
    backwards = render_tiles(context, render, works[::-1], lambda: None)
    assert together == alone == backwards[::-1]
    assert render_tiles(context, render, [], lambda: None) == []


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_each_tile_of_a_batch_is_held_to_its_own_part_of_the_picture(families, family):
    model = load_model(families, family, torch.device("cpu"))
    network = load_control(families, f"{family}-tile", torch.device("cpu"), torch.float32)
    draw = np.random.default_rng(4)
    pixels = torch.from_numpy(draw.random((2, 3, 64, 64), dtype=np.float32))
    x = torch.from_numpy(draw.standard_normal((2, 4, 16, 16)).astype(np.float32))
    prompts = model.encode_prompts(["fog", "a map"])

    def seen(rows):
        control = Control(network, pixels, 1.0).of(rows)
        with torch.inference_mode():
            return guided_denoiser(model, prompts, 3.0, control)(x[rows], 1.0, 500)

    both = seen([0, 1])

    torch.testing.assert_close(both, torch.cat([seen([0]), seen([1])]), atol=1e-5, rtol=1e-5)
    assert (both[1] - seen([0])[0]).abs().max() > 1e-3


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_each_tile_of_a_batch_holds_its_own_part_of_an_edited_picture(mode):
    render, area = edited(mode, MASKS["across cells"])
    fleet = Fleet(ToyModel(CARD), size=3)
    write_area(fleet.store, render, 0, area, lambda: None)

    distributed = fleet.render(render, KNOWN)

    expected = painted(render, area, ToyModel(CARD), picture=KNOWN)
    np.testing.assert_allclose(distributed, expected, rtol=0, atol=FP64)
