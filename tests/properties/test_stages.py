"""Every family through every stage of a render, without a queue."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from app.canvas import read_window
from app.domain.geometry import Box
from app.domain.spec import Wrap
from app.domain.work import Stage, Work, next_work, work_of
from app.jobs import present_keys
from app.measuring import starting_cells
from app.merging import merge_phase
from app.pictures.codecs import decode_array, decode_pixels
from app.planning import plan_request
from app.schemas import read_request
from app.settings import Settings
from app.storage.memory import MemoryStore
from tests.support.tiny_model import FAMILIES
from workers import loading
from workers.families.control import Control
from workers.loading import ModelCache
from workers.renderer import Renderer
from workers.stages import base
from workers.stages.context import Context
from workers.stages.picture import read_control
from workers.stages.tile import render_tiles
from workers.upscaling import UpscalerCache

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def models(families):
    """A cache with room for every model, so that each is loaded once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "_WARM_MODELS", 20)
        yield ModelCache(families, CPU)


@pytest.fixture
def context(models):
    return Context(MemoryStore(), models, None, 100.0)


def make_plan(families, family, **fields):
    chosen = Settings(model=family, models_path=[])
    request = {"prompt": "a map", "height": 72, "width": 104, "steps": 2} | fields
    return plan_request(read_request(request), families, chosen)


def run(context, plan, *, until=Stage.PICTURE):
    """Render unit by unit, up to the stage *until*."""
    renderer = Renderer(context)
    while (missing := next_work(plan, present_keys(context.store, plan)))[0].stage is not until:
        for work in missing:
            if work.stage is Stage.MERGE:
                merge_phase(context.store, plan, work.image, work.phase)
            else:
                context.store.put(work.key(plan), renderer.render(plan, work, lambda: None))


def pixels(context, plan):
    keys = [work.key(plan) for group in work_of(plan) for work in group if work.stage is Stage.CORE]
    return [decode_pixels(context.store.get(key)) for key in keys]


def tile(context, plan):
    return decode_array(context.store.get(Work(Stage.TILE, 0).key(plan)))


@pytest.mark.parametrize("mode", ["refine", "phased", "direct"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_renders_a_picture(context, families, family, mode):
    plan = make_plan(families, family, mode=mode, tile=64)

    run(context, plan)

    assert [part.shape for part in pixels(context, plan)] == [(72, 104, 3)]
    assert pixels(context, plan)[0].std() > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_exchanges_at_every_step(context, families, family):
    """A flow's first state is a million times its noise; single precision is enough for it."""
    apart = make_plan(families, family, mode="direct", height=64, width=64)
    joined = make_plan(families, family, mode="multidiffusion", height=64, width=64)
    assert (len(apart.phases), len(joined.phases)) == (1, 2)

    for plan in (apart, joined):
        run(context, plan, until=Stage.CORE)

    ours, theirs = (
        read_window(plan, 0, len(plan.phases), plan.canvas, context.array)
        for plan in (joined, apart)
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_tiles_lie_on_the_patches_that_the_model_sees(families, family):
    plan = make_plan(families, family, mode="refine", tile=64, height=100, width=172)
    unit = families.card(family).alignment

    edges = {edge for box in plan.phases[0].tiles for edge in (box.top, box.left)}
    sizes = {side for box in plan.phases[0].tiles for side in (box.height, box.width)}

    assert [edge for edge in edges | sizes if edge % unit] == []
    assert len(plan.phases[0].tiles) > 4


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tile_rendered_again_by_a_fresh_worker_is_the_same(context, families, family):
    plan = make_plan(families, family, mode="refine", tile=64)
    run(context, plan, until=Stage.TILE)
    fresh = Context(context.store, ModelCache(families, CPU), None, 100.0)
    work = Work(Stage.TILE, 0, 0, 1)

    first = render_tiles(context, plan, [work], lambda: None)

    assert render_tiles(fresh, plan, [work], lambda: None) == first


@pytest.mark.parametrize("stage", [Stage.BASE, Stage.PREPARE, Stage.TILE, Stage.HEAD, Stage.CORE])
def test_all_that_a_stage_needs_is_loaded_before_it_is_timed(context, families, monkeypatch, stage):
    size = {"mode": "refine", "height": 128, "width": 640, "tile": 160, "upscale": 2, "steps": 1}
    plan = make_plan(families, "sd", **size, models={"control": "sd-tile"})
    run(context, plan, until=stage)
    fresh = Context(context.store, ModelCache(families, CPU), UpscalerCache({}, CPU), 100.0)
    renderer = Renderer(fresh)

    renderer.load(plan, stage)

    for cache, name in ((ModelCache, "_read"), (ModelCache, "_check"), (UpscalerCache, "_read")):
        monkeypatch.setattr(cache, name, None)
    assert renderer.render(plan, Work(stage, 0), lambda: None)


def test_a_lora_changes_the_picture(context, families):
    size = {"mode": "direct", "height": 64, "width": 64}
    plain = make_plan(families, "sd3", **size)
    styled = make_plan(families, "sd3", **size, loras=[{"name": "sd3-style"}])

    for plan in (plain, styled):
        run(context, plan, until=Stage.MERGE)

    assert (tile(context, plain) - tile(context, styled)).std() > 1e-3


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_a_control_network_changes_tiles_and_not_the_base(context, families, family):
    free = make_plan(families, family, mode="refine", tile=64)
    held = make_plan(families, family, mode="refine", tile=64, models={"control": f"{family}-tile"})

    for plan in (free, held):
        run(context, plan, until=Stage.MERGE)

    base = [context.store.get(Work(Stage.BASE, 0).key(plan)) for plan in (free, held)]
    assert base[0] == base[1]
    assert (tile(context, free) - tile(context, held)).std() > 1e-3


def test_a_tile_is_held_to_its_own_part_of_the_enlarged_picture(context, families):
    plan = make_plan(families, "sd", mode="refine", tile=64, models={"control": "sd-tile"})
    run(context, plan, until=Stage.PREPARE)
    model = context.model(plan, "sd")

    def seen(box):
        return read_control(context, plan, 0, model, [box]).pixels

    whole = seen(plan.canvas)
    for box in plan.phases[0].tiles:
        rows, columns = box.scaled(plan.latent_scale).window
        torch.testing.assert_close(seen(box), whole[:, :, rows, columns], atol=1e-5, rtol=0)
    assert whole.shape == (1, 3, 72, 104)


def test_where_the_picture_wraps_a_tile_is_held_to_both_ends(context, families):
    plan = make_plan(
        families, "sd", mode="refine", tile=64, wrap="x", models={"control": "sd-tile"}
    )
    run(context, plan, until=Stage.PREPARE)
    model = context.model(plan, "sd")
    assert plan.spec.wrap is Wrap.X

    across = read_control(context, plan, 0, model, [Box(0, 20, 16, 32)]).pixels

    ends = [
        read_control(context, plan, 0, model, [box]).pixels
        for box in (Box(0, 20, 16, 26), Box(0, 0, 16, 6))
    ]
    torch.testing.assert_close(across, torch.cat(ends, dim=-1), atol=1e-5, rtol=0)


def test_a_tile_that_closes_on_itself_is_held_as_it_is_rolled(
    context, models, families, monkeypatch
):
    plan = make_plan(
        families,
        "sd",
        mode="refine",
        tile=128,
        overlap=0,
        height=64,
        width=128,
        wrap="x",
        models={"control": "sd-tile"},
        control_scale=2.0,
    )
    run(context, plan, until=Stage.MERGE)

    assert np.isfinite(tile(context, plan)).all()
    assert plan.phases[0].grid.columns.wraps
    monkeypatch.setattr(Control, "rolled", lambda self, *_: self)
    unrolled = Context(MemoryStore(), models, None, 100.0)
    run(unrolled, plan, until=Stage.MERGE)
    assert np.abs(tile(unrolled, plan) - tile(context, plan)).max() > 1e-3


def test_without_a_control_network_nothing_is_read(context, families):
    plan = make_plan(families, "sd", mode="direct", height=64, width=64)

    assert read_control(context, plan, 0, context.model(plan, "sd"), [plan.canvas]) is None


def test_a_cropped_start_is_the_middle_of_the_picture_sent_alone(context, families):
    noise = np.random.default_rng(2).integers(0, 256, (96, 200, 3), np.uint8)
    cores = []
    for name, picture, fit in (("whole", noise, "crop"), ("middle", noise[:, 40:160], None)):
        context.store.put(f"inputs/{name}", png(picture))
        size = {"height": 64, "width": 80, "init_image": f"inputs/{name}", "init_fit": fit}
        plan = make_plan(families, "sd", **size)
        run(context, plan)
        cores.append((pixels(context, plan), starting_cells(context.store, plan, 0)))

    for ours, theirs in zip(*cores, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def png(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_region_over_everything_paints_the_base_of_its_own_prompt(families, context, family):
    everything = {
        "prompt": "snow and ice",
        "box": {"top": 0, "left": 0, "bottom": 72, "right": 104},
    }
    asked = {"mode": "refine", "guidance": 3}
    inside = make_plan(families, family, regions=[everything | {"feather": 0}], **asked)
    alone = make_plan(families, family, prompt="snow and ice", **asked)
    other = make_plan(families, family, **asked)

    base, expected, unlike = (
        decode_array(Renderer(context).render(plan, Work(Stage.BASE, 0), lambda: None))
        for plan in (inside, alone, other)
    )

    np.testing.assert_allclose(base, expected, rtol=0, atol=1e-5)
    assert np.abs(base - unlike).max() > 1e-4


@pytest.mark.parametrize("wrap", ["x", "xy"])
def test_a_base_that_wraps_is_decoded_as_if_it_had_no_ends(families, context, wrap):
    """Rolled by half, it comes out rolled by half: what was an end lies in the middle then."""
    plan = make_plan(families, "sd", mode="refine", wrap=wrap, height=96, width=96)
    model = context.model(plan, "sd")
    latents = np.random.default_rng(0).standard_normal((4, 12, 12), np.float32)
    axes = (1, 2) if wrap == "xy" else (2,)

    def moved(window):
        straight = base._decoded(model, latents, window)
        rolled = base._decoded(model, np.roll(latents, 6, axes), window)
        pixels = -6 * model.card.latent_scale
        back = np.roll(rolled, pixels, tuple(axis - 1 for axis in axes))
        return np.abs(back - straight).max()

    wrapped = base._base_window(plan, plan.base)
    assert moved(wrapped) < 0.05 * moved(replace(wrapped, closes_rows=False, closes_columns=False))
