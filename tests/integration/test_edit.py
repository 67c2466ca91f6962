"""A picture edited in this process, with a small model: what changes, and what is executed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.support.installation import Installation
from tests.support.tiny_model import build_tiny_model

# 320 x 256 px in 64 px tiles and cores of 256 px; the canvas ends 2 px beyond the picture.
HEIGHT, WIDTH = 254, 318
SIZE = ("--size", f"{WIDTH}x{HEIGHT}", "--steps", "4")
SPOT = (slice(100, 131), slice(20, 61))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    build_tiny_model(root / "tiny")
    return root


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Installation:
    made = Installation(tmp_path_factory.mktemp("site"), models, "tiny")
    Image.effect_noise((WIDTH, HEIGHT), 80).convert("RGB").save(made.root / "before.png")
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[SPOT] = 255
    Image.fromarray(mask).save(made.root / "mask.png")
    return made


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def units(timeline: list[dict[str, str]], stage: str) -> int:
    return sum(f"{stage}-" in row["unit"] for row in timeline)


@pytest.mark.parametrize("mode", ["refine", "phased"])
def test_pixels_outside_the_mask_are_the_pictures_own(site: Installation, mode: str) -> None:
    order = ("a hill", *SIZE, "--init", "before.png", "--mask", "mask.png", "--mode", mode)

    done = site.run("render", *order, "-o", f"{mode}.png", "--json", "--timeline")

    assert done.returncode == 0, done.stderr
    before, after = pixels(site.root / "before.png"), pixels(site.root / f"{mode}.png")
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[SPOT] = False
    np.testing.assert_array_equal(after[outside], before[outside])
    assert (after != before)[SPOT].any(axis=2).mean() > 0.9


def test_only_what_the_mask_touches_is_executed(site: Installation) -> None:
    order = ("a hill", *SIZE, "--init", "before.png", "--mask", "mask.png", "--seed", "3")

    done = site.run("render", *order, "-o", "out.png", "--json", "--timeline")

    manifest = json.loads(done.stdout)
    planned = json.loads(site.run("plan", *order, "--json").stdout)
    phases = [phase["tiles"] for phase in planned["phases"]]
    assert units(manifest["timeline"], "tile") == sum(phases) == manifest["tiles"]
    assert max(phases) <= 4
    assert units(manifest["timeline"], "core") == planned["cores"] == 1
    assert planned["plan_hash"] == manifest["plan_hash"]


@pytest.mark.parametrize("upscale", [2, 1], ids=["enlarged", "plain"])
def test_a_tile_of_a_finished_picture_is_rendered_again(site: Installation, upscale: int) -> None:
    height, width = HEIGHT * upscale, WIDTH * upscale
    size = ("--size", f"{width}x{height}", "--steps", "4", "--upscale", str(upscale))
    first = json.loads(
        site.run("render", "a hill", *size, "-o", "first.png", "--json", timeout_s=300).stdout
    )

    done = site.run(
        *(
            "rerender",
            first["job_id"],
            "--tile",
            "1,2",
            "--seed",
            "9",
            "-o",
            "second.png",
            "--json",
        ),
        timeout_s=300,
    )

    assert done.returncode == 0, done.stderr
    manifest, before = json.loads(done.stdout), pixels(site.root / "first.png")
    box = manifest["lineage"].pop("box")
    changed = np.zeros((height, width), bool)
    changed[box["top"] : box["bottom"], box["left"] : box["right"]] = True
    second = pixels(site.root / "second.png")
    np.testing.assert_array_equal(second[~changed], before[~changed])
    assert (second != before)[changed].any(axis=1).mean() > 0.9
    assert (manifest["tiles"], manifest["executions"]) == (4, manifest["units"])  # four phases
    assert [share["cores"] for share in manifest["workers"].values()] == [1]
    assert manifest["lineage"] == {
        "job_id": first["job_id"],
        "plan_hash": first["plan_hash"],
        "image": 0,
        "seed": 9,
    }


def test_what_was_rendered_again_can_be_rendered_again(site: Installation) -> None:
    job_id = json.loads(site.run("jobs", "--json").stdout)[0]["job_id"]
    for number, box in enumerate(("40x30+20+100", "40x30+250+200")):
        done = site.run(
            *("rerender", job_id, "--box", box, "--seed", "5", "--strength", "0.5"),
            *("-o", f"again-{number}.png", "--json"),
            timeout_s=300,
        )
        assert done.returncode == 0, done.stderr
        job_id = json.loads(done.stdout)["job_id"]

    one, two = (pixels(site.root / f"again-{number}.png") for number in range(2))

    changed = (one != two).any(axis=2)
    assert changed[200:230, 250:290].mean() > 0.9
    changed[200:230, 250:290] = False
    assert not changed.any()
