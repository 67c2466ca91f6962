from __future__ import annotations

import json
import re

from app.bootstrap import runtime
from app.domain.prediction import Predictor, Shape
from tests.support.installation import Installation


def test_plan_tells_a_person_what_would_happen(installation: Installation) -> None:
    result = installation.invoke("plan", "a hill", "--size", "256x192", "--seed", "7")

    assert result.exit_code == 0
    assert "refine: a base picture decides the layout, tiles add detail; " in result.stdout
    assert "the canvas is larger than the model's " in result.stdout
    assert "2 × 24 of 64x64 px" in result.stdout
    assert "2 times the canvas" in result.stdout
    assert "seed 7" in result.stdout
    assert "200 UNet evaluations, 0.819 megapixels" in result.stdout
    assert "kB more by every worker, before compression" in result.stdout
    assert "not known: nothing like it was rendered with this store" in result.stdout
    assert installation.blobs() == []


def test_plan_tells_the_time_that_was_learned_here(installation: Installation) -> None:
    seen = {"base": 768, "prepare": 3072, "tile": 256, "core": 3072}
    predictor = Predictor()
    for stage, area in seen.items():
        predictor.observe(Shape("tiny", stage, float(area), "cpu"), 1.0)
    runtime().store.put("predictions/1.json", json.dumps(predictor.to_record()).encode())

    result = installation.invoke("plan", "a hill", "--size", "256x192", "--seed", "7")

    assert re.search(r"time +about .+ s on cpu: work of one worker, as learned", result.stdout)


def test_plan_json_is_one_canonical_line(installation: Installation) -> None:
    arguments = ("plan", "a hill", "--size", "256x192", "--json")

    first, second = (installation.invoke(*arguments).stdout for _ in range(2))

    summary = json.loads(first)
    assert first == second
    assert first.count("\n") == 1
    assert summary["cost"]["tiles"] == 48
    assert re.fullmatch("[0-9a-f]{64}", summary["plan_hash"])


def test_size_is_width_times_height(installation: Installation) -> None:
    result = installation.invoke("plan", "a hill", "--size", "256x192", "--json")

    assert json.loads(result.stdout)["canvas"] == {"height": 192, "width": 256}


EVERY_OPTION = {
    "prompt": "a hill",
    "negative_prompt": "fog",
    "height": 128,
    "width": 128,
    "count": 2,
    "seed": 9,
    "steps": 6,
    "guidance": 2.5,
    "sampler": "euler",
    "mode": "refine",
    "nsr": 0.5,
    "tile": 48,
    "overlap": 16,
    "upscale": 2,
    "base_model": "",
    "refine_model": "tiny",
    "upscaler": "",
    "init_image": None,
    "init_fit": None,
    "format": "webp",
    "pyramid": True,
    "wrap": "x",
    "blend": "uniform",
    "decoder": "full",
    "regions": [
        {
            "prompt": "a lake = water",
            "negative_prompt": "",
            "box": {"top": 8, "left": 16, "bottom": 56, "right": 80},
            "weight": 1.0,
            "feather": 64,
            "mask": None,
        }
    ],
    "mask": None,
    "rerender": None,
    "depth": None,
    "loras": [],
    "control": None,
    "restore": None,
    "tags": {"by": "me"},
}


def test_every_option_reaches_the_plan(installation: Installation) -> None:
    result = installation.invoke(
        *("plan", "a hill", "--size", "128x128", "--seed", "9", "--steps", "6"),
        *("--guidance", "2.5", "--sampler", "euler", "--model", "tiny", "--mode", "refine"),
        *("--upscale", "2", "--tile", "48", "--overlap", "16", "--negative", "fog"),
        *("--count", "2", "--format", "webp", "--nsr", "0.5", "--tag", "by=me", "--json"),
        *("--wrap", "x", "--blend", "uniform", "--decoder", "full", "--pyramid"),
        *("--region", "64x48+16+8=a lake = water"),
    )

    spec = json.loads(result.stdout)["spec"]
    assert spec | {"upscaler": "", "base_model": ""} == EVERY_OPTION
