from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.installation import Installation
from tests.support.tiny_model import build_tiny_model

# Few steps and six tiles: enough for every stage, short enough for two shared cores.
SMALL = ("a hill", "--size", "128x96", "--steps", "4", "--seed", "5")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    build_tiny_model(root / "tiny")
    return root


@pytest.fixture
def site(tmp_path: Path, models: Path) -> Installation:
    return Installation(tmp_path, models, "tiny")


def pixels(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_a_render_writes_the_picture_its_recipe_and_a_timeline(site: Installation) -> None:
    rendered = site.run("render", *SMALL, "-o", "out.png", "--timeline")
    recipe = site.run("recipe", "out.png")
    again = site.run("render", *SMALL, "-o", "again.png", "--json")

    assert rendered.returncode == 0, rendered.stderr
    path, told, *timeline = rendered.stdout.splitlines()
    assert path == "out.png"
    assert re.fullmatch(r".* s, 12 tiles on 1 worker, job [0-9a-f-]{36}", told)
    assert sum("phase-0/tile-" in line for line in timeline) == 6
    assert sum("phase-1/tile-" in line for line in timeline) == 6
    assert "done: 18 of 18 units" in rendered.stderr
    assert pixels(site.root / "out.png").shape == (96, 128, 3)
    assert recipe.stdout.startswith("a hill\nSteps: 4, ")
    manifest = json.loads(again.stdout)
    assert (manifest["cached"], manifest["tiles"], again.stderr) == (True, 12, "")
    assert (site.root / "again.png").read_bytes() == (site.root / "out.png").read_bytes()


def test_several_pictures_are_written_in_the_format_of_the_name(site: Installation) -> None:
    result = site.run("render", *SMALL, "--count", "2", "-o", "out.webp")

    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[:2] == ["out-0.webp", "out-1.webp"]
    assert (pixels(site.root / "out-0.webp") != pixels(site.root / "out-1.webp")).any()


def test_a_picture_can_be_the_start(site: Installation) -> None:
    Image.effect_noise((100, 80), 60).convert("RGB").save(site.root / "start.png")

    result = site.run("render", *SMALL, "--init", "start.png", "--strength", "0.3", "-o", "out.jpg")

    assert result.returncode == 0, result.stderr
    assert pixels(site.root / "out.jpg").shape == (96, 128, 3)


def test_an_interrupted_job_is_finished_by_resume(site: Installation) -> None:
    order = ("a hill", "--size", "320x256", "--steps", "60", "--seed", "5")
    process = site.start("render", *order, "-o", "out.png")
    wait_for_tiles(site, 3)

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=90)

    assert (process.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    assert not (site.root / "out.png").exists()
    job_id = err.splitlines()[-1].removeprefix("interrupted; go on with: tilechord resume ")
    status = json.loads(site.run("status", job_id, "--json").stdout)
    assert status["state"] == "running"
    assert 5 <= status["done"] < status["total"]

    resumed = site.run("resume", job_id, "-o", "out.png", "--json", timeout_s=300)

    assert resumed.returncode == 0, resumed.stderr
    manifest = json.loads(resumed.stdout)
    assert manifest["job_id"] == job_id
    assert manifest["executions"] == manifest["units"]  # no finished unit was rendered again
    assert pixels(site.root / "out.png").shape == (256, 320, 3)


def test_resuming_a_finished_job_renders_nothing(site: Installation) -> None:
    rendered = json.loads(site.run("render", *SMALL, "-o", "out.png", "--json").stdout)

    result = site.run("resume", rendered["job_id"], "-o", "again.png", "--json")

    assert json.loads(result.stdout)["executions"] == rendered["executions"]
    assert (site.root / "again.png").read_bytes() == (site.root / "out.png").read_bytes()


def test_a_job_that_fails_on_a_worker_ends_with_its_reason(
    site: Installation, models: Path
) -> None:
    build_tiny_model(site.root / "models" / "tiny", seed=1)
    weights = next((site.root / "models" / "tiny" / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00\x01")
    damaged = Installation(site.root, site.root / "models", "tiny")

    result = damaged.run("render", *SMALL, "-o", "out.png")

    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(
        r"tilechord: base 0 of image 0: model tiny: "
        r"SHA-256 of unet/.*\.safetensors must be .{12}…, got .{12}…",
        result.stderr.splitlines()[-1],
    )
    assert "Traceback" not in result.stderr
    assert not (site.root / "out.png").exists()


def test_a_client_in_this_process_is_told_what_the_planner_refuses(site: Installation) -> None:
    result = site.python(
        "from app.embedded import worker\n"
        "from app.tasks import render\n"
        "from app.domain.errors import RenderError\n"
        "with worker():\n"
        "    for wrong in ({'overlap': 64, 'tile': 64}, {'model': '../x'}, {'count': 1001},\n"
        "                  {'init_image': 'inputs/none'}):\n"
        "        try:\n"
        "            render.delay({'prompt': 'a hill', **wrong}).get(timeout=60)\n"
        "        except RenderError as err:\n"
        "            import sys; sys.stdout.write(f'{type(err).__name__}: {err}\\n')\n"
    )

    assert result.stdout.splitlines() == [
        "InvalidPlanError: overlap must be a multiple of 4 px in [0, 64), got 64 px",
        "ModelError: model must be a name without path separators, got '../x'",
        "LimitExceededError: count must be at most 1000, got 1001",
        "InvalidRequestError: init_image must be the key of an uploaded picture, got 'inputs/none'",
    ], result.stderr
    assert site.blobs() == []


def wait_for_tiles(site: Installation, count: int, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        tiles = [name for name in site.blobs() if re.match(r"plans/.*/tile-\d+$", name)]
        if len(tiles) >= count:
            return
        time.sleep(0.05)
    raise AssertionError(f"fewer than {count} tiles after {timeout_s} s")


def test_a_pyramid_is_ordered_later_and_no_tile_is_rendered_again(site: Installation) -> None:
    first = site.run("render", *SMALL, "--size", "320x128", "-o", "out.png", "--json")

    again = site.run("render", *SMALL, "--size", "320x128", "--pyramid", "-o", "out.png", "--json")

    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    before, after = json.loads(first.stdout), json.loads(again.stdout)
    assert before["images"][0]["pyramid"] is None
    assert after["files"] == ["out.png", "out.dzi"]
    assert after["executions"] == 0
    tiles = sorted(path.name for path in (site.root / "out_files" / "9").iterdir())
    assert tiles == ["0_0.jpg", "1_0.jpg"]
    assert after["images"][0]["pyramid"]["tiles"] == len([*site.root.glob("out_files/*/*.jpg")])
    small = after["images"][0]["thumbnail"]
    assert pixels(site.store / small["key"]).shape == (128, 320, 3)
    assert small["url"] == (site.store / small["key"]).as_uri()
