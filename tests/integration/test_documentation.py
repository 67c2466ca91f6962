"""What README and how-to pages tell a reader to type is typed here."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from app.cards import Catalogue
from tests.support.forked import Forked, nursery
from tests.support.tiny_extras import build_tiny_control, build_tiny_lora
from tests.support.tiny_model import build_tiny_model
from workers.loading import load_model

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "how-to").glob("*.md"))]
LANGUAGES = {"sh", "python", "html", "text"}
# Too large for a test of their own. CI runs `make test`; what the others start is tested apart:
# the demo below, the cluster in test_cluster_services.py.
MADE_ELSEWHERE = {"make demo", "make test", "make up WORKERS=2"}
FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
READY_S = 90


def fences(page):
    """Tag and text of every fenced block of *page*."""
    return FENCE.findall(page.read_text())


def blocks(language, is_wanted=lambda block: True):
    return [
        pytest.param(block, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, (tag, block) in enumerate(fences(page))
        if tag == language and is_wanted(block)
    ]


def is_made_elsewhere(block):
    return set(block.splitlines()) <= MADE_ELSEWHERE


def starts_workers(block):
    starts = ("tilechord worker ", "tilechord autoscale ")
    return all(any(start in line for start in starts) for line in block.splitlines())


def is_run_here(block):
    return not is_made_elsewhere(block) and not starts_workers(block)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model that answers to the name of the bundled one, with few and large tiles."""
    folder = tmp_path_factory.mktemp("documented")
    build_tiny_model(folder / "atlas", native_px=256)
    return folder


@pytest.fixture(scope="module")
def own_models(tmp_path_factory):
    """What the pages assume in /srv/models."""
    folder = tmp_path_factory.mktemp("srv")
    build_tiny_model(folder / "my-model", native_px=256)
    loaded = load_model(Catalogue([folder]), "my-model", torch.device("cpu"))
    build_tiny_control(folder / "tile", loaded.pipeline)
    build_tiny_lora(folder / "ink", loaded.pipeline)
    return folder


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """``tilechord`` in a folder for PATH: the same program, seven seconds of imports sooner."""
    folder = tmp_path_factory.mktemp("bin")
    command = f'exec {sys.executable} -m tests.support.forked {nursery()} -m app.cli "$@"'
    (folder / "tilechord").write_text(f"#!/bin/sh\n{command}\n")
    (folder / "tilechord").chmod(0o755)
    return folder


@pytest.fixture
def environment(models, tmp_path):
    return os.environ | {
        "TILECHORD_MODELS_PATH": str(models),
        "TILECHORD_STORE_URL": f"file://{tmp_path / 'store'}",
        "TILECHORD_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


@pytest.fixture
def reader(request, own_models, commands, environment, tmp_path):
    """Types a block into a shell in a folder as the pages assume it: installed, cluster up."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    path = f"{commands}{os.pathsep}{environment['PATH']}"

    def type_in(block):
        if ".tilechord/cluster/env" in block:
            env = request.getfixturevalue("cluster").env
            (tmp_path / ".tilechord" / "cluster").mkdir(parents=True)
            lines = [f"{name}='{value}'\n" for name, value in env.items()]
            (tmp_path / ".tilechord" / "cluster" / "env").write_text("".join(lines))
        # The end proves that a block which only sets variables sets valid ones.
        settings = "python -c 'from app.settings import settings; settings()'\n"
        return subprocess.run(
            ["bash", "-euo", "pipefail"],
            input=block.replace("/srv/models", str(own_models)) + settings,
            cwd=tmp_path,
            env=environment | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    return type_in


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_says_what_it_is_written_in(page):
    text = page.read_text()

    tags = [tag for tag, _ in fences(page)]

    assert text.count("```") == 2 * len(tags)
    assert set(tags) <= LANGUAGES


@pytest.mark.parametrize("drawing", blocks("text"))
def test_what_is_not_typed_here_holds_no_command(drawing):
    assert not re.search(r"^\W*(make|tilechord|python3?|pip|export) ", drawing, re.MULTILINE)


def test_commands_made_elsewhere_are_those_of_the_pages():
    typed = {line for page in PAGES for _, block in fences(page) for line in block.splitlines()}

    assert {line for line in typed if line.startswith("make ")} == MADE_ELSEWHERE


@pytest.mark.parametrize("command", sorted(MADE_ELSEWHERE))
def test_every_command_made_elsewhere_is_a_target(command):
    done = subprocess.run(
        [*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_demo_shows_a_picture_and_its_tiles(environment, tmp_path):
    options = ["-f", ROOT / "Makefile", "--old-file=setup", f"BIN={Path(sys.executable).parent}"]
    # The tests run under make themselves; a make below it would announce folders and share jobs.
    outside = {name: value for name, value in environment.items() if not name.startswith("MAKE")}

    done = subprocess.run(
        ["make", "--no-print-directory", *options, "demo"],
        cwd=tmp_path,
        env=outside,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "demo.png"
    assert len(re.findall(r"tile-\d+", done.stdout)) >= 6
    with Image.open(tmp_path / "demo.png") as picture:
        assert picture.width >= 1024
        assert picture.height >= 768


@pytest.mark.parametrize("code", blocks("python"))
def test_every_python_example_runs(code, cluster, environment):
    # Examples without a worker of their own speak to the cluster.
    env = environment if "embedded.worker" in code else os.environ | cluster.env

    example = Forked(["-c", code], env=env)
    errors = example.communicate(timeout=300)[1]

    assert example.returncode == 0, errors


@pytest.mark.parametrize("block", blocks("sh", is_run_here))
def test_every_shell_example_runs(block, reader):
    done = reader(block)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", blocks("sh", starts_workers))
def test_every_worker_example_becomes_ready_and_stops(
    block, cluster_env, services, environment, tmp_path
):
    own = services.new_installation()
    for number, command in enumerate(block.splitlines()):
        log = tmp_path / f"{number}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"exec env {command}"],
                cwd=tmp_path,
                env=environment | cluster_env | own,
                stdout=output,
                stderr=output,
            )
        try:
            wait_until_ready(process, log)
        finally:
            process.terminate()

        assert process.wait(timeout=60) == 0, f"{command}\n{log.read_text()}"


def wait_until_ready(process, log):
    deadline = time.monotonic() + READY_S
    while not re.search(rb"[ .]ready\b", log.read_bytes()):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_to_a_file_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())

    missing = [link for link in links if not (page.parent / link).exists()]

    assert missing == []
