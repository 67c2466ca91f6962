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
