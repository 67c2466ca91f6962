"""``--size``: both sides, one of a picture to start from, or none."""

from __future__ import annotations

import json

import pytest
import typer
from PIL import Image

from app import client
from app.cli import broker
from app.cli.sizes import chosen_size, stretch_of
from app.expectation import Expectation
from tests.support.installation import Installation


@pytest.fixture
def photo(installation: Installation) -> str:
    path = installation.root / "photo.jpg"
    Image.new("RGB", (300, 200), "teal").save(path)
    return str(path)


def planned(installation: Installation, *options: str) -> dict[str, int]:
    result = installation.invoke("plan", "a hill", "--json", *options)
    assert result.exit_code == 0, result.output
    spec = json.loads(result.stdout)["spec"]
    return {"width": spec["width"], "height": spec["height"]}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2048x1536", (2048, 1536)),
        (" 2048X1536 ", (2048, 1536)),
        ("64×128", (64, 128)),
        (None, (1024, 1024)),
    ],
)
def test_both_sides_are_taken_as_they_are(text: str | None, size: tuple[int, int]) -> None:
    assert chosen_size(text, None) == size


@pytest.mark.parametrize("text", ["", "x", "2048", "2048x15x3", "ax3", "1.5x2", "9" * 10 + "x1"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"must be WIDTHxHEIGHT such as 2048x1536, got"):
        chosen_size(text, None)


@pytest.mark.parametrize("text", ["2048x", "x1536"])
def test_one_side_needs_a_picture_to_start_from(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="must have both sides where no --init has an"):
        chosen_size(text, None)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (("--size", "600x"), (600, 400)),
        (("--size", "x800"), (1200, 800)),
        (("--size", "500x"), (500, 333)),
        ((), (300, 200)),
        (("--size", "512x512"), (512, 512)),
    ],
)
def test_a_picture_to_start_from_gives_what_is_left_out(
    installation: Installation, photo: str, options: tuple[str, ...], size: tuple[int, int]
) -> None:
    assert planned(installation, "--init", photo, *options) == dict(
        zip(("width", "height"), size, strict=True)
    )


def test_a_photo_on_its_side_counts_upright(installation: Installation) -> None:
    path = installation.root / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (300, 200)).save(path, exif=exif)

    assert chosen_size("400x", path) == (400, 600)


def test_a_rounded_side_counts_as_no_stretch(installation: Installation, photo: str) -> None:
    assert stretch_of(installation.root / "photo.jpg", 500, 333) == 1
    assert stretch_of(installation.root / "photo.jpg", 500, 500) == pytest.approx(2 / 3)


def test_a_picture_that_is_not_there_is_named(installation: Installation) -> None:
    result = installation.invoke("plan", "a hill", "--init", "nowhere.png", "--size", "512x")

    assert result.exit_code == 2
    assert "nowhere.png" in result.stderr


def test_who_orders_is_told_that_a_picture_is_stretched(
    installation: Installation, photo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "estimate", lambda request: Expectation(0.0, None))
    monkeypatch.setattr(client, "submit", lambda request: "job-1")
    monkeypatch.setattr(broker, "require_broker", lambda wish: "3.13")
    told = [
        installation.invoke("submit", "a hill", "--init", photo, *options).stderr
        for options in (("--size", "512x512"), ("--size", "512x"), ("--init-fit", "crop"))
    ]

    assert f"{photo} is stretched in width 0.67 times; --init-fit crop keeps its aspect" in told[0]
    assert not any("stretched" in text for text in told[1:])
