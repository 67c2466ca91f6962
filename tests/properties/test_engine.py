"""What makes a tiled render right: its equality with the render that was never tiled."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from app.domain.card import ModelCard
from app.domain.geometry import Box
from app.domain.grid import Axis, Blend, Grid
from app.domain.plan import RenderPlan
from app.domain.spec import Mode, Region, Wrap
from app.storage.memory import MemoryStore
from tests.support.blobs import ComparingStore, CrashError
from tests.support.engine import (
    ToyModel,
    hostile,
    run_phases,
    run_unit,
    toy_context,
    without_base,
)
from tests.unit.domain.cards import SD15, plan

MODES = [Mode.REFINE, Mode.PHASED, Mode.MULTIDIFFUSION, Mode.SPOT]
EVERY_MODE = [Mode.DIRECT, *MODES]
CARD: ModelCard = replace(SD15, native_size=128)
PICTURE = np.random.default_rng(5).standard_normal((4, 40, 48))
RADIUS = 1
"""Of the toy model's convolution, in latents."""


def toy_plan(mode: Mode, *, discard: bool = True, **changes) -> RenderPlan:
    """A small canvas in many tiles, each of which leaves out what its own edges reach."""
    # In mode direct it is one window, which must not be more than four times the native area.
    render = plan(
        replace(CARD, native_size=192) if mode is Mode.DIRECT else CARD,
        mode=mode,
        **{"height": 320, "width": 384, "tile": 192, "overlap": 128, "steps": 6, "nsr": 6.0}
        | changes,
    )
    phases = tuple(
        replace(phase, grid=discarding(phase.grid, RADIUS * len(phase.steps) if discard else 0))
        for phase in render.phases
    )
    render = replace(render, phases=phases)
    return without_base(render) if mode is Mode.REFINE else render


def discarding(grid: Grid, reach: int) -> Grid:
    if grid.blend is Blend.PASTE:
        return replace(grid, rows=narrowed(grid.rows, reach), columns=narrowed(grid.columns, reach))
    return replace(grid, margin=reach)


def narrowed(axis: Axis, reach: int) -> Axis:
    """The windows of *axis* grown by what is left out, so that what they keep stays the same."""
    if len(axis.spans) == 1:
        return axis
    spans = [
        (first - reach, last + reach)
        if axis.wraps
        else (max(0, first - reach), min(axis.length, last + reach))
        for first, last in axis.spans
    ]
    return replace(axis, spans=tuple(spans))


def whole(render: RenderPlan) -> RenderPlan:
    """The same walk in one window over the whole canvas."""
    rows, columns = (
        Axis(length, ((0, length),)) for length in (render.canvas_height, render.canvas_width)
    )
    phases = tuple(replace(phase, grid=Grid(rows, columns)) for phase in render.phases)
    return replace(render, phases=phases)


def rendered(render: RenderPlan, model: ToyModel, **options) -> np.ndarray:
    picture = PICTURE if render.starts_from_picture else None
    return run_phases(toy_context(model), render, picture=picture, **options)


@pytest.mark.parametrize("sampler", ["ddim", "dpm++2m"], ids=str)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_tiles_of_a_finite_receptive_field_equal_the_whole_canvas(mode, sampler):
    render = toy_plan(mode, sampler=sampler)

    tiled = rendered(render, ToyModel(CARD))

    np.testing.assert_allclose(tiled, rendered(whole(render), ToyModel(CARD)), rtol=0, atol=1e-12)
    assert len(render.phases[0].tiles) >= 4


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_without_the_discard_the_tiles_edges_show(mode):
    render = toy_plan(mode, discard=False)

    error = np.abs(rendered(render, ToyModel(CARD)) - rendered(whole(render), ToyModel(CARD)))

    assert error.max() > 1e-3


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_wrapped_canvas_equals_a_whole_one_whose_ends_meet(mode):
    render = toy_plan(mode, wrap=Wrap.XY)

    tiled = rendered(render, ToyModel(CARD))

    periodic = rendered(
        replace(whole(render), spec=replace(render.spec, wrap=Wrap.NONE)),
        ToyModel(CARD, mode="circular"),
    )
    np.testing.assert_allclose(tiled, periodic, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_neither_order_nor_repetition_changes_a_bit(mode):
    render = toy_plan(mode)
    once = rendered(render, ToyModel(CARD, torch.float32))

    context = toy_context(ToyModel(CARD, torch.float32), ComparingStore())
    picture = PICTURE if render.starts_from_picture else None
    again = run_phases(context, render, picture=picture, order=hostile)

    np.testing.assert_array_equal(again, once)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_crash_after_any_unit_changes_nothing(mode):
    render, model = toy_plan(mode), ToyModel(CARD)
    expected = rendered(render, model)
    store, left = MemoryStore(), iter(range(10_000))

    def until_the_crash(works):
        for work in works:
            yield work
            if next(left) % 7 == 6:
                raise CrashError

    while True:
        try:
            picture = PICTURE if render.starts_from_picture else None
            result = run_phases(
                toy_context(model, store), render, picture=picture, order=until_the_crash
            )
            break
        except CrashError:
            continue

    np.testing.assert_array_equal(result, expected)


def test_pasted_windows_are_written_once():
    render = toy_plan(Mode.SPOT, discard=False)
    context = toy_context(ToyModel(CARD))
    run_phases(context, render)

    pasted = [phase for phase in render.phases if phase.grid.blend is Blend.PASTE]
    assert pasted
    for phase in pasted:
        total = np.zeros((render.canvas_height, render.canvas_width))
        for index, tile in enumerate(phase.tiles):
            total[tile.window] += phase.grid.weight(index)
        np.testing.assert_array_equal(total, np.ones_like(total))


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_no_tile_draws_random_numbers_of_its_own(mode, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a tile's noise comes from the canvas's field")

    for owner, names in (
        (torch, ("randn", "randn_like", "rand", "rand_like", "normal", "randint")),
        (np.random, ("default_rng", "randn", "rand", "normal", "standard_normal")),
    ):
        for name in names:
            monkeypatch.setattr(owner, name, refuse)

    rendered(toy_plan(mode), ToyModel(CARD))


def test_a_tile_whose_latents_are_not_finite_stops_the_merge():
    from app.domain.errors import RenderFailedError
    from app.domain.work import Stage, Work
    from app.pictures.codecs import encode_array

    render, context = toy_plan(Mode.MULTIDIFFUSION), toy_context(ToyModel(CARD))
    shape = (4, render.phases[0].tiles[0].height, render.phases[0].tiles[0].width)
    broken = np.full(shape, np.nan, np.float32)
    for index in range(len(render.phases[0].tiles)):
        context.store.put(Work(Stage.TILE, 0, 0, index).key(render), encode_array(broken))

    with pytest.raises(RenderFailedError, match="is not finite"):
        run_unit(context, render, Work(Stage.MERGE, 0, 0))


@pytest.mark.parametrize("mode", EVERY_MODE, ids=str)
def test_a_regions_prompt_paints_its_box_in_every_mode(mode):
    region = Region("a much longer prompt", "", Box(0, 0, 320, 192), 1.0, 64, None)
    own, other = (rendered(toy_plan(mode, regions=r), ToyModel(CARD)) for r in ((), (region,)))

    changed = np.abs(own - other).max(axis=(0, 1))

    assert changed[:18].min() > 1e-3
    assert changed[34:].max() < 1e-9


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_tiles_with_regions_equal_the_whole_canvas(mode):
    region = Region("a much longer prompt", "", Box(0, 0, 320, 192), 1.0, 64, None)
    render = toy_plan(mode, regions=(region,))

    tiled = rendered(render, ToyModel(CARD))

    np.testing.assert_allclose(tiled, rendered(whole(render), ToyModel(CARD)), rtol=0, atol=1e-12)


EVERYTHING = Box(0, 0, 320, 384)


def under_mask(render, mask):
    """*render* with *mask* ``(h, w)`` uint8, an uploaded picture, for its region."""
    uploaded, context = io.BytesIO(), toy_context(ToyModel(CARD))
    Image.fromarray(mask).save(uploaded, "png")
    context.store.put("uploads/mask", uploaded.getvalue())
    picture = PICTURE if render.starts_from_picture else None
    return run_phases(context, render, picture=picture)


@pytest.mark.parametrize("mode", EVERY_MODE, ids=str)
def test_a_mask_over_everything_paints_like_its_box(mode):
    """White in the upper half."""
    mask = np.zeros((40, 48), np.uint8)
    mask[:20] = 255
    regions = (
        Region("a much longer prompt", "", EVERYTHING, 1.0, 0, "uploads/mask"),
        Region("a much longer prompt", "", Box(0, 0, 160, 384), 1.0, 0, None),
        Region("a much longer prompt", "", EVERYTHING, 1.0, 0, None),
    )

    masked, boxed, unmasked = (
        under_mask(toy_plan(mode, regions=(region,)), mask) for region in regions
    )

    np.testing.assert_array_equal(masked, boxed)
    assert np.abs(masked - unmasked).max() > 1e-3


@pytest.mark.parametrize("mode", EVERY_MODE, ids=str)
def test_under_a_grey_mask_a_prompt_paints_as_much_as_it_is_light(mode):
    """A fifth of 15 letters and four fifths of 5 are 7: the toy counts its prompt's letters."""
    region = Region("fifteen letters", "", EVERYTHING, 1.0, 0, "uploads/mask")
    grey = np.full((40, 48), 51, np.uint8)

    masked = under_mask(toy_plan(mode, prompt="a map", regions=(region,)), grey)

    between, own = (
        rendered(toy_plan(mode, prompt=p), ToyModel(CARD)) for p in ("7 signs", "a map")
    )
    np.testing.assert_allclose(masked, between, rtol=0, atol=1e-6)
    assert np.abs(masked - own).max() > 1e-3


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_tiles_under_a_feathered_mask_equal_the_whole_canvas(mode):
    """Black in the first rows and columns, white in the last."""
    ramp = np.add.outer(np.arange(40), np.arange(48)) * (255 / 86)
    region = Region("fifteen letters", "", EVERYTHING, 1.0, 0, "uploads/mask")
    render = toy_plan(mode, regions=(region,))

    tiled = under_mask(render, ramp.astype(np.uint8))

    assert 0 < ramp[20, 24] < 255
    expected = under_mask(whole(render), ramp.astype(np.uint8))
    np.testing.assert_allclose(tiled, expected, rtol=0, atol=1e-12)
