# ruff: noqa: E501 (one case a line: a table is easier to read than paragraphs)
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.bootstrap import runtime
from app.domain.plan import canonical_json
from app.domain.work import Stage, Work, canvas_key
from app.manifests import manifest_of
from app.merging import assemble_picture
from app.pictures.codecs import encode_array, encode_pixels
from app.planning import plan_request
from app.schemas import read_request
from tests.support.installation import Installation
from tests.support.pictures import Floats, checks, one_over_f, pixels

SIDE = 512
TEXTURE = one_over_f(SIDE, SIDE, seed=0)
STEPPED = TEXTURE + checks(SIDE, SIDE, 128, 12 / 255)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for name, luma in (("clean", TEXTURE), ("stepped", STEPPED)):
        Image.fromarray(pixels(luma)).save(folder / f"{name}.png", compress_level=1)
    return folder


@pytest.fixture
def pictures(drawn: Path, installation: Installation) -> Path:
    for path in drawn.iterdir():
        (installation.root / path.name).symlink_to(path)
    return installation.root


def finish_job(job_id: str, *lumas: Floats, **fields: int) -> None:
    """A job whose pictures are done, as its workers and the control worker leave it."""
    app = runtime()
    order = {"prompt": "a hill", "width": SIDE, "height": SIDE, "count": len(lumas)}
    request = read_request(order | {"tile": 144, "overlap": 32} | fields)
    plan = plan_request(request, app.catalogue, app.settings)
    app.ledger.accept(job_id, request, plan)
    for image, luma in enumerate(lumas):
        base = np.full((16, 16, 3), 0.5, np.float32)
        app.store.put(Work(Stage.BASE, image).key(plan), encode_array(base))
        for index in range(len(plan.decode.cores)):
            core = pixels(luma)[plan.core_pixels(index).window]
            app.store.put(Work(Stage.CORE, image, index=index).key(plan), encode_pixels(core))
        merged = canonical_json({"overlap_disagreement": 0.005 * (image + 1)})
        app.store.put(canvas_key(plan, image, len(plan.phases)), merged)
        assemble_picture(app.store, plan, image)
    app.ledger.finish(manifest_of(app.store, plan, job_id, [], cached=False))


def test_a_picture_file_is_measured_on_a_grid(pictures: Path, installation: Installation) -> None:
    result = installation.invoke("quality", "stepped.png", "--grid", "128x0")

    assert result.exit_code == 0
    name, value, gate, verdict = result.stdout.rstrip("\n").split("\t")
    assert (name, gate, verdict) == ("seam_z", "≤ 1.50", "missed")
    assert float(value) > 2
    assert result.stderr == ""


def test_overlapping_tiles_have_a_dip_too(pictures: Path, installation: Installation) -> None:
    result = installation.invoke("quality", "clean.png", "--grid", "192x64", "--json")

    told = json.loads(result.stdout)
    assert list(told["quality"]) == ["seam_z", "variance_dip"]
    assert told["misses"] == []
    assert told["gates"]["variance_dip"] == {"at_least": 0.93}


def test_single_lines_can_be_given(pictures: Path, installation: Installation) -> None:
    step, none = (
        json.loads(
            installation.invoke(
                *("quality", "stepped.png", "--columns", columns, "--rows", rows, "--json")
            ).stdout
        )["quality"]["seam_z"]
        for columns, rows in (("128,256,384", "128,384"), ("64,192,320", "192"))
    )

    assert step > 2
    assert none < 1.5


def test_a_picture_that_wraps_is_measured_across_its_border(
    pictures: Path, installation: Installation
) -> None:
    slope = pixels(TEXTURE + np.linspace(-0.2, 0.2, SIDE))
    Image.fromarray(slope).save(installation.root / "slope.png")

    sound, torn = (
        json.loads(installation.invoke("quality", name, "--wrap", "x", "--json").stdout)["misses"]
        for name in ("clean.png", "slope.png")
    )

    assert sound == []
    assert torn == ["seam_z"]


@pytest.mark.parametrize(
    ("picture", "options", "code"),
    [
        ("stepped.png", ("--gate",), 6),
        ("stepped.png", (), 0),
        ("clean.png", ("--gate",), 0),
    ],
    ids=["missed", "not asked", "passed"],
)
def test_only_a_missed_gate_that_was_asked_for_changes_the_exit_code(
    pictures: Path, installation: Installation, picture: str, options: tuple[str, ...], code: int
) -> None:
    result = installation.invoke("quality", picture, "--grid", "128x0", *options)

    assert result.exit_code == code
    assert result.stdout.startswith("seam_z\t")


def test_a_heat_map_is_drawn_beside_the_figures(pictures: Path, installation: Installation) -> None:
    result = installation.invoke(
        "quality", "stepped.png", "--grid", "128x0", "--heatmap", "seams.png"
    )

    assert result.stdout.splitlines()[-1] == "seams.png"
    with Image.open(pictures / "seams.png") as drawn:
        assert drawn.size == (SIDE, SIDE)
        red, _, blue = drawn.convert("RGB").getpixel((128, 64))  # type: ignore[misc]
    assert red > blue


def test_a_job_tells_what_its_manifest_says(installation: Installation) -> None:
    finish_job("sound", TEXTURE)

    result = installation.invoke("quality", "sound", "--json")

    assert json.loads(result.stdout)["quality"] == runtime().ledger.result("sound").quality


def test_a_picture_of_a_job_can_be_measured_anew(installation: Installation) -> None:
    finish_job("batch", TEXTURE, STEPPED)

    both, first, second = (
        json.loads(installation.invoke("quality", "batch", *options, "--json").stdout)["quality"]
        for options in ((), ("--image", "0"), ("--image", "1"))
    )

    assert (first["overlap_disagreement"], second["overlap_disagreement"]) == (0.005, 0.01)
    assert both["seam_z"] == max(first["seam_z"], second["seam_z"])
    assert both["variance_dip"] == min(first["variance_dip"], second["variance_dip"])


def test_the_seams_of_a_job_can_be_drawn(installation: Installation) -> None:
    finish_job("drawn", TEXTURE)

    result = installation.invoke("quality", "drawn", "--heatmap", "seams.png", "--json")

    told = json.loads(result.stdout)
    assert told["heatmap"] == "seams.png"
    assert told["quality"] == runtime().ledger.result("drawn").quality
    assert (installation.root / "seams.png").is_file()


BAD_LINES = [
    ("neither grid nor lines", (), 2, "Invalid value for --grid: must be given for a picture file, or --rows or --columns"),
    ("no overlap", ("--grid", "512"), 2, "Invalid value for --grid: must be TILExOVERLAP such as 512x128, the tile larger, got '512'"),
    ("overlap as large as the tile", ("--grid", "64x64"), 2, "Invalid value for --grid: must be TILExOVERLAP such as 512x128, the tile larger, got '64x64'"),
    ("one tile", ("--grid", "512x0"), 2, "--grid must have more than one tile in a picture of 512x512 px, got tiles of 512 px"),
    ("a line on the border", ("--rows", "0,64"), 2, "--rows must lie inside the picture, in 1 to 511, got 0"),
    ("a line outside", ("--columns", "64,512"), 2, "--columns must lie inside the picture, in 1 to 511, got 512"),
    ("lines in words", ("--columns", "left"), 2, "Invalid value for --columns: must be positions in pixels such as 384,768, got 'left'"),
    ("unknown wrap", ("--wrap", "y"), 2, "Invalid value for --wrap: must be x or xy, got 'y'"),
    ("image of a file", ("--grid", "128x0", "--image", "0"), 2, "Invalid value for --image: is for jobs: a file has one picture"),
    ("heat map of another kind", ("--grid", "128x0", "--heatmap", "map.jpg"), 2, "Invalid value for --heatmap: must end in .png, got 'map.jpg'"),
    ("heat map in a missing folder", ("--grid", "128x0", "--heatmap", "nowhere/map.png"), 2, "--heatmap must lie in an existing folder, nowhere is none"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "code", "sentence"), [case[1:] for case in BAD_LINES], ids=[c[0] for c in BAD_LINES]
)
def test_bad_lines_earn_one_sentence(
    pictures: Path,
    installation: Installation,
    options: tuple[str, ...],
    code: int,
    sentence: str,
) -> None:
    result = installation.invoke("quality", "clean.png", *options)

    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr == f"tilechord: {sentence}\n"


def test_a_folder_cannot_become_a_heat_map(pictures: Path, installation: Installation) -> None:
    (pictures / "map.png").mkdir()

    result = installation.invoke("quality", "clean.png", "--grid", "128x0", "--heatmap", "map.png")

    assert result.exit_code == 2
    assert result.stderr == "tilechord: --heatmap must be a file, map.png is a folder\n"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("nope",), 5, "job nope is not known"),
        (("nope.png", "--grid", "128x0"), 5, "picture nope.png is not there"),
        (("done", "--image", "1"), 5, "job done has pictures 0 to 0, got 1"),
        (("done", "--image", "-1"), 5, "job done has pictures 0 to 0, got -1"),
        (("planned",), 5, "job planned has no picture, it is submitted"),
    ],
    ids=["unknown job", "missing file", "image beyond the last", "image below 0", "no picture yet"],
)
def test_what_is_not_there_earns_one_sentence(
    installation: Installation, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    app = runtime()
    request = read_request({"prompt": "a hill", "width": 256, "height": 192})
    plan = plan_request(request, app.catalogue, app.settings)
    app.ledger.accept("planned", request, plan)
    if arguments[0] == "done":
        finish_job("done", TEXTURE)

    result = installation.invoke("quality", *arguments)

    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr == f"tilechord: {sentence}\n"


def test_what_is_no_picture_earns_one_sentence(installation: Installation) -> None:
    (installation.root / "notes.txt").write_text("hello")

    result = installation.invoke("quality", "notes.txt", "--grid", "128x0")

    assert result.exit_code == 2
    assert result.stderr == (
        "tilechord: picture notes.txt must be a PNG, JPEG, WebP, JPEG XL or TIFF picture, got b'hello'\n"
    )
