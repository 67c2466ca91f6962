"""Regions that the command line takes from a file say all that a request's can."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from app import client
from app.bootstrap import runtime
from app.cli.options import RequestOptions
from app.cli.rendering import complete
from tests.support.installation import Installation

BOX = {"top": 0, "left": 64, "bottom": 96, "right": 128}
LAKE = {"prompt": "a lake", "negative_prompt": "fog", "box": BOX, "weight": 2.0, "feather": 16}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds ``ring.png``, and ``regions.json`` that names it."""
    Image.radial_gradient("L").resize((32, 32)).save(tmp_path / "ring.png")
    regions = [LAKE, {"prompt": "snow", "mask": "ring.png"}]
    (tmp_path / "regions.json").write_text(json.dumps(regions))
    return tmp_path


def plan_spec(installation: Installation, *options: str) -> dict[str, object]:
    result = installation.invoke("plan", "a hill", "--size", "128x128", *options, "--json")
    spec: dict[str, object] = json.loads(result.stdout)["spec"]
    return spec


def test_a_file_says_all_that_a_region_can(installation: Installation, folder: Path) -> None:
    spec = plan_spec(installation, "--regions", str(folder / "regions.json"))

    mask = client.check_input(folder / "ring.png")
    snow = {"prompt": "snow", "negative_prompt": "", "weight": 1.0, "feather": 64, "mask": mask}
    box = {"top": 0, "left": 0, "bottom": 128, "right": 128}
    assert spec["regions"] == [LAKE | {"mask": None}, snow | {"box": box}]


def test_typed_regions_come_before_those_of_a_file(
    installation: Installation, folder: Path
) -> None:
    path = str(folder / "regions.json")

    spec = plan_spec(installation, "--regions", path, "--region", "64x48+16+8=a wood")

    regions = spec["regions"]
    assert isinstance(regions, list)
    assert [region["prompt"] for region in regions] == ["a wood", "a lake", "snow"]


def test_a_plan_stores_no_mask(installation: Installation, folder: Path) -> None:
    plan_spec(installation, "--regions", str(folder / "regions.json"))

    assert not runtime().store.exists(client.check_input(folder / "ring.png"))


def test_masks_are_uploaded_with_the_order(installation: Installation, folder: Path) -> None:
    options = RequestOptions("a hill", size="128x128", regions=folder / "regions.json")

    request = complete(options.to_request(), options.files)

    key = request.regions[1].mask
    assert key is not None
    assert runtime().store.get(key) == (folder / "ring.png").read_bytes()


BAD_FILES = [
    ("no JSON", "[{", "--regions must be a JSON file, regions.json is not: "),
    ("no list", "{}", "--regions must be a JSON list of regions, regions.json is not"),
    ("a list of texts", '["sea"]', "--regions must be a JSON list of regions, regions.json is not"),
    ("nested for ever", "[" * 100_000, "--regions must be a JSON file, regions.json is not: "),
    ("no UTF-8", "ÿ", "--regions must be a JSON file, regions.json is not: "),
    ("no prompt", "[{}]", "regions.0.prompt is required"),
    ("a typing error", '[{"prompt": "sea", "wait": 2}]', "regions.0.wait"),
    ("no mask", '[{"prompt": "sea", "mask": "x.png"}]', "regions.0.mask 'x.png' cannot be read"),
    ("a number as mask", '[{"prompt": "sea", "mask": 7}]', "regions.0.mask should be"),
    ("no picture", '[{"prompt": "sea", "mask": "regions.json"}]', "regions.0.mask "),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"), [case[1:] for case in BAD_FILES], ids=[case[0] for case in BAD_FILES]
)
def test_a_bad_file_is_told_by_field_and_rule(
    installation: Installation,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    text: str,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("regions.json").write_bytes(text.encode("latin-1"))

    result = installation.invoke("plan", "a hill", "--regions", "regions.json")

    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("nowhere.json", "--regions 'nowhere.json' cannot be read: No such file or directory"),
        ("/dev/zero", "--regions must be a file of at most 10000000 bytes, /dev/zero is not"),
    ],
)
def test_what_is_no_file_is_refused(installation: Installation, path: str, told: str) -> None:
    result = installation.invoke("plan", "a hill", "--regions", path)

    assert result.exit_code == 2
    assert told in result.stderr
