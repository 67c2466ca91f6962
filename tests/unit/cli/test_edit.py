"""Edits that cannot be done, told before anything is rendered or stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.support.installation import Installation

SIZE = ("--size", "256x192")


def grey(path: Path, width: int, height: int, level: int = 0) -> str:
    Image.new("L", (width, height), level).save(path)
    return path.name


@pytest.fixture
def picture(installation: Installation) -> str:
    return grey(installation.root / "before.png", 256, 192, 90)


@pytest.fixture
def mask(installation: Installation) -> str:
    mask = Image.new("L", (256, 192))
    mask.paste(255, (20, 20, 30, 30))
    mask.save(installation.root / "mask.png")
    return "mask.png"


def test_a_mask_without_a_picture_is_refused(installation: Installation, mask: str) -> None:
    result = installation.invoke("plan", "a hill", *SIZE, "--mask", mask)

    assert result.exit_code == 2
    assert result.stderr.startswith("tilechord: mask needs an init_image, got '")


@pytest.mark.parametrize(
    ("width", "height", "level", "sentence"),
    [
        (256, 192, 0, "mask must have a white part to paint anew, it is all black"),
        (256, 256, 255, "mask must have the picture's aspect, 256:192, got 256x256 px"),
    ],
    ids=["all black", "of another aspect"],
)
def test_a_mask_that_does_not_fit_is_refused(
    installation: Installation,
    picture: str,
    width: int,
    height: int,
    level: int,
    sentence: str,
) -> None:
    bad = grey(installation.root / "bad.png", width, height, level)

    result = installation.invoke("plan", "a hill", *SIZE, "--init", picture, "--mask", bad)

    assert (result.exit_code, result.stderr) == (2, f"tilechord: {sentence}\n")


def test_a_mask_of_another_size_is_stretched(installation: Installation, picture: str) -> None:
    small = grey(installation.root / "small.png", 64, 48, 255)

    result = installation.invoke(
        "plan", "a hill", *SIZE, "--init", picture, "--mask", small, "--json"
    )

    assert result.exit_code == 0, result.stderr
    plain = installation.invoke("plan", "a hill", *SIZE, "--init", picture, "--json")
    counts = [
        {phase["tiles"] for phase in json.loads(told.stdout)["phases"]} for told in (result, plain)
    ]
    assert counts[0] == counts[1]


def test_a_picture_of_another_size_is_refused(installation: Installation, mask: str) -> None:
    other = grey(installation.root / "other.png", 255, 192)

    result = installation.invoke("plan", "a hill", *SIZE, "--init", other, "--mask", mask)

    assert (result.exit_code, result.stderr) == (
        2,
        "tilechord: init_image must have the size of the picture with a mask, 256x192 px, "
        "got 255x192 px\n",
    )


def test_a_mask_with_super_resolution_is_refused(
    installation: Installation, picture: str, mask: str
) -> None:
    options = ("--init", picture, "--mask", mask, "--upscale", "2")

    result = installation.invoke("plan", "a hill", *SIZE, *options)

    assert (result.exit_code, result.stderr) == (2, "tilechord: mask needs upscale 1, got 2\n")


def test_a_mask_that_is_no_picture_is_told_by_its_name(
    installation: Installation, picture: str
) -> None:
    (installation.root / "mask.txt").write_text("white")

    result = installation.invoke("plan", "a hill", "--init", picture, "--mask", "mask.txt")

    assert result.exit_code == 2
    assert result.stderr.startswith("tilechord: mask must be a PNG, JPEG, WebP or TIFF picture, ")


def test_the_plan_of_an_edit_counts_what_the_mask_touches(
    installation: Installation, picture: str, mask: str
) -> None:
    result = installation.invoke(
        "plan", "a hill", *SIZE, "--init", picture, "--mask", mask, "--json"
    )

    planned = json.loads(result.stdout)
    assert {phase["tiles"] for phase in planned["phases"]} == {1}
    assert (planned["cores"], planned["spec"]["nsr"] > 10) == (1, True)
    assert installation.blobs() == []


@pytest.mark.parametrize(
    ("fit", "told"),
    [
        ((), "init      stretched in width 1.50 times; --init-fit crop keeps its aspect"),
        (("--init-fit", "crop"), "init      cropped to its middle"),
    ],
    ids=["stretched", "cropped"],
)
def test_a_plan_tells_what_becomes_of_a_picture_of_another_aspect(
    installation: Installation, picture: str, fit: tuple[str, ...], told: str
) -> None:
    wide = installation.invoke("plan", "a hill", "--size", "256x128", "--init", picture, *fit)
    own = installation.invoke("plan", "a hill", *SIZE, "--init", picture)

    assert told.split() in [line.split() for line in wide.stdout.splitlines()]
    assert "init " not in own.stdout


def test_a_picture_of_another_aspect_is_refused_where_that_is_asked_for(
    installation: Installation, picture: str
) -> None:
    options = ("--init", picture, "--init-fit", "error")
    own = installation.invoke("plan", "a hill", *SIZE, *options)

    wide = installation.invoke("plan", "a hill", "--size", "256x128", *options)

    assert own.exit_code == 0
    assert (wide.exit_code, wide.stderr) == (
        2,
        "tilechord: init_image must have the picture's aspect, 256:128, got 256x192 px; "
        "init_fit crop or stretch takes it\n",
    )
