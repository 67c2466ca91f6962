"""Which latents, tiles, cores and pixels an area takes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.card import UpscalerCard
from app.domain.editing import Area, affected_tiles, composite, tile_box
from app.domain.errors import InvalidRequestError
from app.domain.geometry import Box, parts
from app.domain.grid import Grid
from app.domain.phases import tile_grid
from app.domain.planner import plan_render
from app.domain.spec import Mode, Rerender, Wrap
from app.domain.tiling import plan_axis, plan_windows
from app.domain.work import Stage, Work, ground_key, pixels_key, work_of
from tests.unit.domain.cards import LIMITS, SD15, SPEC, plan

HEIGHT, WIDTH = 100, 150
SMALL = replace(SPEC, height=HEIGHT, width=WIDTH)


def area(mask, *, box=None, spec=SMALL):
    return Area(spec, np.asarray(mask, np.uint8), box or Box(0, 0, spec.height, spec.width))


def white(top, left, bottom, right, *, height=HEIGHT, width=WIDTH):
    mask = np.zeros((height, width), np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


def edit(mask, **changes):
    """The plan of an edit of a picture of 1536 x 2048 px, in 12 tiles and 12 cores."""
    changes = {"init_image": "inputs/picture", "mask": "inputs/mask"} | changes
    spec = replace(SPEC, **changes)
    return plan_render(
        spec, {"sd15": SD15}, upscaler=None, limits=LIMITS, area=area(mask, spec=spec)
    )


def axes(wraps):
    return st.builds(
        lambda tiles, tile, overlap: plan_axis(
            tile + (tiles - 1) * (tile - overlap) if tiles > 1 else tile - 1,
            tile,
            overlap,
            wraps=wraps,
        ),
        st.integers(1, 5),
        st.integers(8, 20),
        st.integers(0, 7),
    )


@given(st.booleans().flatmap(axes))
def test_cells_cover_an_axis_once_each_inside_its_span(axis):
    counts = np.zeros(axis.length, int)
    for (first, last), (start, end) in zip(axis.cells, axis.spans, strict=True):
        assert start <= first < last <= end
        counts[np.arange(first, last) % axis.length] += 1

    np.testing.assert_array_equal(counts, np.ones_like(counts))


@given(st.integers(20, 60), st.integers(0, 19), st.booleans())
def test_cells_of_pasted_windows_are_what_they_keep(length, offset, wraps):
    axis = plan_windows(length, 20, offset, wraps=wraps)

    assert axis.cells == (axis.kept or axis.spans)


@given(st.data())
def test_the_affected_tiles_weigh_on_every_free_latent(data):
    wrap = data.draw(st.sampled_from(Wrap))
    grid = tile_grid(replace(SPEC, wrap=wrap), SD15, 192, 256)
    rows, columns = (sorted(data.draw(st.lists(st.integers(0, side), min_size=2, max_size=2,
                     unique=True))) for side in (192, 256))  # fmt: skip
    free = np.zeros((192, 256), bool)
    free[rows[0] : rows[1], columns[0] : columns[1]] = True

    weight = np.zeros(free.shape)
    for index in affected_tiles(grid, free):
        for part in parts(grid.tiles[index], Box(0, 0, 192, 256)):
            weight[part.on_canvas.window] += grid.weight(index)[part.in_box.window]

    assert weight[free].min() > 0.01


def test_a_cell_is_touched_by_its_own_latents_alone():
    grid = Grid(plan_axis(10, 10, 0, wraps=False), plan_axis(22, 10, 4, wraps=False))
    free = np.zeros((10, 22), bool)
    free[4, 7] = True

    assert grid.columns.cells == ((0, 8), (8, 14), (14, 22))
    assert list(affected_tiles(grid, free)) == [0]
    assert list(affected_tiles(grid, np.roll(free, 1, axis=1))) == [1]


def test_every_latent_with_a_touched_pixel_is_free():
    free = area(white(7, 15, 9, 17)).free(Box(0, 0, 13, 19), 8)

    assert np.argwhere(free).tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]


def test_the_canvas_beyond_a_border_goes_on_as_the_picture_ends():
    free = area(white(96, 0, 100, 8)).free(Box(0, 0, 16, 19), 8)

    assert np.argwhere(free).tolist() == [[12, 0], [13, 0], [14, 0], [15, 0]]


def test_a_smaller_mask_is_stretched_by_its_nearest_sample():
    inside = area([[0, 255], [255, 0]]).inside(Box(48, 73, 52, 77))

    np.testing.assert_array_equal(inside, np.kron([[0, 255], [255, 0]], np.ones((2, 2))))


def test_an_area_ends_with_its_box():
    inside = area([[255]], box=Box(10, 20, 12, 23)).inside(Box(8, 18, 14, 25))

    assert np.argwhere(inside).tolist() == [[r, c] for r in (2, 3) for c in (2, 3, 4)]


@given(st.integers(1, 9), st.randoms(use_true_random=False))
def test_painted_pixels_are_never_seen_outside_the_mask(fade, random):
    mask = np.array([[random.choice([0, 0, 90, 255]) for _ in range(15)] for _ in range(10)])
    region = area(mask)

    opacity = region.opacity(Box(0, 0, HEIGHT, WIDTH), fade)

    inside = region.inside(Box(0, 0, HEIGHT, WIDTH))
    assert (opacity <= inside).all()
    assert (opacity[inside == 255] > 0).all()


def test_opacity_rises_over_the_fade_and_not_at_the_border_of_the_picture():
    opacity = area(white(0, 50, 100, 150)).opacity(Box(0, 45, 100, 65), 4)

    assert opacity[0].tolist() == opacity[99].tolist()
    assert opacity[50].tolist() == [0] * 5 + [64, 128, 191] + [255] * 12


def test_opacity_fades_across_an_end_that_wraps():
    spec = replace(SMALL, wrap=Wrap.XY)

    opacity = area(white(0, 100, 100, 150), spec=spec).opacity(Box(0, 140, 100, 150), 4)

    assert opacity[50, -4:].tolist() == [255, 191, 128, 64]


@given(st.integers(0, 70), st.integers(0, 100))
def test_the_opacity_of_a_part_is_the_part_of_the_opacity(top, left):
    region, box = area(white(20, 30, 80, 90)), Box(top, left, top + 30, left + 50)

    whole = region.opacity(Box(0, 0, HEIGHT, WIDTH), 8)

    np.testing.assert_array_equal(region.opacity(box, 8), whole[box.window])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@given(seed=st.integers(0, 2**32 - 1))
@example(seed=8186722)  # painted levels a hair beside a half
def test_where_nothing_is_opaque_the_ground_stays_to_the_last_bit(dtype, seed):
    random, peak = np.random.default_rng(seed), np.iinfo(dtype).max
    ground = random.integers(0, peak + 1, (16, 16, 3), dtype)
    opacity = random.choice(np.array([0, 100, 255], np.uint8), (16, 16))
    painted = random.random((16, 16, 3), np.float32)

    result = composite(ground, painted, opacity)

    np.testing.assert_array_equal(result[opacity == 0], ground[opacity == 0])
    assert result.dtype == dtype
    np.testing.assert_array_equal(result[opacity == 255], np.round(painted * peak)[opacity == 255])


def test_a_spot_takes_one_tile_a_phase_and_one_core():
    render = edit(white(100, 100, 130, 140, height=1536, width=2048))

    groups = [group for group in work_of(render) if group[0].stage in (Stage.TILE, Stage.CORE)]

    tiles = [(Work(Stage.TILE, 0, phase, 0),) for phase in range(len(render.phases))]
    assert groups == [*tiles, (Work(Stage.CORE, 0, 0, 0),)]
    assert (render.cost.tiles, render.cost.cores) == (len(tiles), 1)
    assert render.cost.unet_evaluations == 2 * sum(len(phase.steps) for phase in render.phases)


def test_every_mode_reduces_every_phase():
    for mode in (Mode.REFINE, Mode.PHASED, Mode.MULTIDIFFUSION, Mode.SPOT):
        render = edit(white(700, 900, 750, 960, height=1536, width=2048), mode=mode, nsr=10.0)

        assert all(0 < len(phase.indices) < len(phase.grid) for phase in render.phases)


def test_a_core_that_is_not_painted_has_the_pixels_of_the_picture():
    render = edit(white(100, 100, 130, 140, height=1536, width=2048))

    assert pixels_key(render, 0, 0) == Work(Stage.CORE, 0, index=0).key(render)
    assert pixels_key(render, 0, 1) == ground_key(render, 0, 1)


def test_where_the_mask_is_white_is_part_of_the_plan():
    one, other = (
        edit(white(top, 100, top + 30, 140, height=1536, width=2048)) for top in (100, 1400)
    )

    assert one.hash != other.hash
    assert one.spec == other.spec


def test_a_black_mask_is_refused():
    with pytest.raises(InvalidRequestError, match=r"^mask must have a white part"):
        edit(np.zeros((1536, 2048)))


@pytest.mark.parametrize("upscale", [1, 2, 4])
def test_the_boxes_of_all_tiles_cover_the_picture_once(upscale):
    render = plan(height=1500, width=2000, tile=256, overlap=64, upscale=upscale)
    grid, covered = render.phases[-1].grid, np.zeros((1500, 2000), int)

    for row in range(len(grid.rows.spans)):
        for column in range(len(grid.columns.spans)):
            covered[tile_box(render, row, column).window] += 1

    np.testing.assert_array_equal(covered, np.ones_like(covered))


@pytest.mark.parametrize("upscale", [1, 2, 4])
def test_the_box_of_a_tile_takes_this_tile_alone(upscale):
    spec = replace(SPEC, tile=256, overlap=64, upscale=upscale)
    upscaler = UpscalerCard("realesr-animevideov3", "1", 18) if upscale > 1 else None
    parent = plan_render(spec, {"sd15": SD15}, upscaler=upscaler, limits=LIMITS)
    box = tile_box(parent, 1, 1)
    again = replace(spec, rerender=Rerender(parent.hash, 0, box))

    render = plan_render(
        again,
        {"sd15": SD15},
        upscaler=upscaler,
        limits=LIMITS,
        area=area([[255]], box=box, spec=again),
    )

    assert render.phases[-1].indices == (len(parent.phases[-1].grid.columns.spans) + 1,)
    assert render.decode.cores == parent.decode.cores
    assert all(render.core_pixels(core).intersection(box) for core in render.decode.indices)


def test_a_tile_outside_of_the_grid_is_refused():
    with pytest.raises(InvalidRequestError) as refusal:
        tile_box(plan(), 3, 9)

    assert str(refusal.value) == "tile must be a row below 4 and a column below 5, got 3,9"
