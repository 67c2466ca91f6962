import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidPlanError, LimitExceededError
from app.domain.geometry import Box
from app.domain.plan import canonical_json
from app.domain.spec import Mode
from app.schemas import read_plan
from tests.unit.domain.cards import LIMITS, SD15, plan

sides = st.integers(64, 4096)


def test_the_same_order_gives_the_same_bytes():
    assert plan().to_json() == plan().to_json()
    assert plan().hash == plan().hash


def test_another_process_with_another_hash_seed_gives_the_same_hash():
    code = "from tests.unit.domain.cards import plan; print(plan(tags={'b': '1', 'a': '2'}).hash)"

    other = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "4242", "PYTHONPATH": ".", "TZ": "Asia/Tokyo"},
    ).stdout.strip()

    assert plan(tags={"a": "2", "b": "1"}).hash == other


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "another map"},
        {"seed": 8},
        {"steps": 21},
        {"guidance": 6.5},
        {"sampler": "euler"},
        {"nsr": 0.8},
        {"overlap": 64},
        {"width": 2056},
        {"upscale": 2},
        {"format": "jpeg"},
        {"tags": {"client": "studio"}},
        {"init_fit": "crop"},
        {"pyramid": True},
        {"depth": 16},
        {"card": replace(SD15, revision="1" * 64)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_may_change_a_byte_changes_the_hash(change):
    assert plan(**change).hash != plan().hash


@pytest.mark.parametrize(
    "change",
    [{"count": 3}, {"format": "jpeg"}, {"tags": {"client": "studio"}}, {"pyramid": True}],
    ids=lambda change: next(iter(change)),
)
def test_what_touches_no_latent_is_of_the_same_series(change):
    assert plan(**change).series == plan().series
    assert plan(**change).hash != plan().hash


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "another map"},
        {"seed": 8},
        {"steps": 21},
        {"nsr": 0.8},
        {"overlap": 64},
        {"width": 2056},
        {"upscale": 2},
        {"card": replace(SD15, revision="1" * 64)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_may_change_a_latent_or_a_core_starts_another_series(change):
    assert plan(**change).series != plan().series


def test_a_render_that_is_done_again_is_kept_apart_and_told_alike():
    again = replace(plan(), run="job-7")

    assert again.hash != plan().hash
    assert again.series != plan().series
    assert again.order_hash == plan().order_hash == plan().hash
    assert read_plan(again.to_json()) == again


def test_plans_that_are_not_kept_apart_have_the_hashes_they_always_had():
    assert b'"run"' not in plan().to_json()
    assert b'"init_fit"' not in plan().to_json()
    assert b'"pyramid"' not in plan().to_json()
    assert b'"depth"' not in plan().to_json()


def test_a_plan_survives_the_store():
    assert read_plan(plan(upscale=2).to_json()) == plan(upscale=2)
    assert read_plan(plan(init_fit="crop").to_json()) == plan(init_fit="crop")
    assert read_plan(plan(pyramid=True).to_json()) == plan(pyramid=True)
    assert read_plan(plan(depth=16).to_json()) == plan(depth=16)


def test_deep_cores_take_twice_the_bytes():
    pixels = 2 * 3 * plan().picture.area  # decoded and written

    assert plan(depth=16).cost.blob_bytes == plan().cost.blob_bytes + pixels


def test_a_plan_that_encodes_no_picture_has_the_form_it_always_had():
    former = replace(plan(), encode=None)

    assert b'"encode":' not in former.to_json()
    assert read_plan(former.to_json()).hash == former.hash


def test_canonical_json_ignores_the_order_of_keys():
    assert canonical_json({"b": 1, "a": {"d": 2, "c": 3}}) == b'{"a":{"c":3,"d":2},"b":1}'


def test_canonical_json_has_no_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


@given(height=sides, width=sides, upscale=st.sampled_from([1, 2, 4]))
def test_cores_become_every_pixel_of_the_picture_exactly_once(height, width, upscale):
    render = plan(height=height, width=width, upscale=upscale)
    covered = np.zeros((height, width), np.uint8)

    for index in range(len(render.decode.cores)):
        covered[render.core_pixels(index).window] += 1

    assert (covered == 1).all()


@given(height=sides, width=sides)
def test_tiles_cover_the_canvas_and_stay_inside(height, width):
    render = plan(height=height, width=width)
    covered = np.zeros((render.canvas_height, render.canvas_width), bool)

    for box in render.phases[0].tiles:
        assert box.padded(0, within=render.canvas) == box
        covered[box.window] = True

    assert covered.all()
    assert len({(box.height, box.width) for box in render.phases[0].tiles}) == 1


def test_a_base_has_native_area_and_the_aspect_of_the_canvas():
    render = plan(height=1024, width=4096)

    assert (render.base.height, render.base.width) == (32, 128)


def test_a_refinement_starts_at_the_noise_that_was_asked():
    parts = [phase.steps for phase in plan(nsr=0.7).phases]
    sigmas = [*parts[0].sigmas[:1], *(sigma for part in parts for sigma in part.sigmas[1:])]

    assert sigmas[0] == pytest.approx(0.7, abs=0.01)
    assert parts[0].noise_scale == sigmas[0]
    assert sigmas[-1] == 0
    assert sigmas == sorted(sigmas, reverse=True)


def test_a_direct_render_is_one_tile_one_core_and_no_base():
    render = plan(height=512, width=512, mode=Mode.DIRECT)

    assert render.base is None
    assert render.phases[0].tiles == (Box(0, 0, 64, 64),)
    assert render.decode.cores == (Box(0, 0, 64, 64),)
    assert not render.decode.freezes_statistics


def test_an_init_image_takes_the_place_of_the_base():
    assert plan(init_image="inputs/abc").base is None


def test_cost_counts_tiles_evaluations_and_overlap():
    render = plan(height=1024, width=1024, tile=512, overlap=0)
    cost, steps = render.cost, sum(len(phase.steps) for phase in render.phases)

    assert (cost.tiles, cost.cores, cost.overlap_overhead) == (4 * len(render.phases), 4, 1.0)
    assert cost.unet_evaluations == 2 * (20 + 4 * steps)
    assert json.loads(plan().to_json())["cost"]["tiles"] == plan().cost.tiles


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tile": 500}, "tile must be a multiple of 8 px in [64, 2048], got 500 px"),
        ({"tile": 4096}, "tile must be a multiple of 8 px in [64, 2048], got 4096 px"),
        ({"overlap": 12}, "overlap must be a multiple of 8 px in [0, 512), got 12 px"),
        ({"overlap": 512}, "overlap must be a multiple of 8 px in [0, 512), got 512 px"),
    ],
    ids=["unaligned tile", "huge tile", "unaligned overlap", "overlap of a whole tile"],
)
def test_impossible_tiles_are_refused_with_the_numbers(change, message):
    with pytest.raises(InvalidPlanError) as caught:
        plan(**change)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"height": 20_000, "width": 20_000},
            "height x width must be at most 300 megapixels, got 400.0",
        ),
        ({"count": 1001}, "count must be at most 1000, got 1001"),
        (
            {"height": 16_000, "width": 16_000, "tile": 128, "overlap": 32},
            "a job may have at most 2000 tiles or cores, got 27889",
        ),
        (
            {"mode": Mode.DIRECT},
            "mode direct denoises at most 1 megapixels with model sd15, got 3.1; use mode refine",
        ),
        (
            {"height": 64, "width": 90_000},
            "height and width must not differ more: model sd15 would start from "
            "19264x64 px, got 90000x64 px",
        ),
    ],
    ids=["canvas", "count", "tiles", "direct", "aspect"],
)
def test_orders_beyond_the_limits_are_refused_with_the_number(change, message):
    with pytest.raises(LimitExceededError) as caught:
        plan(**change, limits=LIMITS)

    assert str(caught.value) == message


def test_a_square_of_4096_px_takes_twenty_five_tiles_of_1024():
    card = replace(SD15, native_size=1024)

    render = plan(card, height=4096, width=4096, tile=1024, overlap=256)

    assert (len(render.phases[0].grid), render.cost.overlap_overhead) == (25, 1.5625)
