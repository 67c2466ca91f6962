"""Parts of finished pictures that cannot be rendered again, and what a good order asks for."""

from __future__ import annotations

import pytest

from app import client
from app.bootstrap import runtime
from app.domain.errors import InvalidRequestError
from app.domain.geometry import Box
from app.domain.plan import RenderPlan, canonical_json
from app.domain.work import Stage, Work, canvas_key
from app.editing import read_parent
from app.planning import plan_request
from app.schemas import Manifest, read_request
from tests.support.installation import Installation


def accept(**fields: object) -> RenderPlan:
    """A job of 4 x 5 tiles that is planned."""
    app = runtime()
    request = read_request({"prompt": "a hill", "width": 256, "height": 192} | fields)
    plan = plan_request(request, app.catalogue, app.settings, app.store.get)
    app.ledger.accept("job-1", request, plan)
    return plan


def finish(plan: RenderPlan) -> None:
    """As much of the end as an order for a part of it looks at."""
    app = runtime()
    app.store.put(canvas_key(plan, 0, len(plan.phases)), b"{}")
    app.store.put(f"{Work(Stage.PICTURE, 0).key(plan)}.json", canonical_json({}))
    empty: dict[str, float] = {}
    app.ledger.finish(
        Manifest(
            job_id="job-1",
            plan_hash=plan.hash,
            images=[],
            quality=empty,
            timings=empty,
            workers={},
            executions=1,
            units=1,
        )
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "Invalid value for --tile: must be given, or --box, and not both"),
        (
            ("--tile", "0,0", "--box", "8x8+0+0"),
            "Invalid value for --tile: must be given, or --box, and not both",
        ),
        (
            ("--tile", "three"),
            "Invalid value for --tile: must be ROW,COLUMN such as 3,4, got 'three'",
        ),
        (
            ("--box", "8x8"),
            "Invalid value for --box: must be WIDTHxHEIGHT+LEFT+TOP such as 512x512+0+256, "
            "got '8x8'",
        ),
        (("--tile", "0,0"), "job job-1 is not known"),
    ],
    ids=["no part", "two parts", "no tile", "no box", "unknown job"],
)
def test_an_order_that_means_no_part_is_refused(
    installation: Installation, options: tuple[str, ...], sentence: str
) -> None:
    result = installation.invoke("rerender", "job-1", "--seed", "9", *options)

    assert result.exit_code in (2, 5)
    assert result.stderr == f"tilechord: {sentence}\n"
    assert installation.blobs() == []


def test_an_unfinished_job_is_refused(installation: Installation) -> None:
    accept()

    result = installation.invoke("rerender", "job-1", "--seed", "9", "--tile", "0,0")

    assert (result.exit_code, result.stderr) == (
        5,
        "tilechord: job job-1 has no picture, it is submitted\n",
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--tile", "4,0"), "tile must be a row below 4 and a column below 6, got 4,0"),
        (("--tile", "0,6"), "tile must be a row below 4 and a column below 6, got 0,6"),
        (
            ("--box", "64x32+200+50"),
            "rerender.box must lie inside the picture of 256x192 px, got bottom 82, right 264",
        ),
        (
            ("--box", "0x32+200+50"),
            "rerender.box must have bottom > top and right > left, "
            "got {'top': 50, 'left': 200, 'bottom': 82, 'right': 200}",
        ),
        (("--tile", "0,0", "--image", "1"), "rerender.image must be below 1, got 1"),
        (
            ("--tile", "0,0", "--strength", "2"),
            "strength should be less than or equal to 1, got 2.0",
        ),
    ],
    ids=["row", "column", "box", "no area", "image", "strength"],
)
def test_a_part_outside_of_the_picture_is_refused(
    installation: Installation, options: tuple[str, ...], sentence: str
) -> None:
    finish(accept())

    result = installation.invoke("rerender", "job-1", "--seed", "9", *options)

    assert (result.exit_code, result.stderr) == (2, f"tilechord: {sentence}\n")


def test_an_unknown_plan_is_refused(installation: Installation) -> None:
    again = {"plan_hash": "0" * 64, "box": {"top": 0, "left": 0, "bottom": 9, "right": 9}}

    with pytest.raises(
        InvalidRequestError, match=r"^rerender.plan_hash must be that of a finished"
    ):
        accept(rerender=again)


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"width": 260}, "keep the size of the picture, 256x192, got 260x192"),
        ({"depth": 16}, "keep the depth of the picture, 8, got 16"),
        ({"wrap": "x"}, "keep the wrap of the picture, none, got x"),
        ({"upscale": 2}, "keep the upscale of the picture, 1, got 2"),
    ],
    ids=["size", "depth", "wrap", "upscale"],
)
def test_a_part_does_not_fit_another_picture(
    installation: Installation, fields: dict[str, object], rule: str
) -> None:
    plan = accept()
    finish(plan)
    again = {"plan_hash": plan.hash, "box": {"top": 0, "left": 0, "bottom": 9, "right": 9}}

    with pytest.raises(InvalidRequestError) as refusal:
        accept(rerender=again, **fields)

    assert str(refusal.value) == f"rerender must {rule}"


@pytest.mark.parametrize(
    "fields",
    [{"init_image": "inputs/a"}, {"count": 2}],
    ids=["picture", "count"],
)
def test_a_rerender_starts_from_one_picture_alone(
    installation: Installation, fields: dict[str, object]
) -> None:
    again = {"plan_hash": "0" * 64, "box": {"top": 0, "left": 0, "bottom": 9, "right": 9}}

    with pytest.raises(InvalidRequestError) as refusal:
        accept(rerender=again, **fields)

    assert str(refusal.value) == "rerender takes no init_image or mask, and a count of 1"


@pytest.mark.parametrize("mode", ["refine", "phased", "multidiffusion", "spot"])
def test_a_tile_is_one_tile_of_the_last_phase(installation: Installation, mode: str) -> None:
    app, parent = runtime(), accept(mode=mode)
    finish(parent)

    request = client.rerender_request("job-1", (1, 2), seed=9)

    plan = plan_request(request, app.catalogue, app.settings, app.store.get)
    assert plan.phases[-1].indices == (1 * 6 + 2,)
    assert plan.phases[-1].grid == parent.phases[-1].grid
    assert plan.base is None
    assert plan.starts_from_picture
    assert read_parent(plan.spec.rerender, app.store.get) == parent  # type: ignore[arg-type]


def test_a_rerender_keeps_the_order_but_its_start(installation: Installation) -> None:
    plan = accept(steps=7, seed=3, nsr=0.4, priority="high", tags={"by": "me"})
    finish(plan)

    request = client.rerender_request("job-1", Box(0, 0, 50, 60), seed=9, prompt="a lake")

    assert (request.prompt, request.steps, request.seed) == ("a lake", 7, 9)
    assert (request.nsr, request.mode, request.priority) == (None, "refine", "high")
    assert (request.tile, request.overlap) == (plan.spec.tile, plan.spec.overlap)
    assert request.tags == {"by": "me"}
    assert request.rerender is not None
    assert (request.rerender.job_id, request.rerender.plan_hash) == ("job-1", plan.hash)
