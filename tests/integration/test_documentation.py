import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tiny_model import build_tiny_model

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "how-to").glob("*.md"))]


def blocks(language: str) -> list:
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.DOTALL | re.MULTILINE)
    return [
        pytest.param(block, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, block in enumerate(pattern.findall(page.read_text()))
    ]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model that answers to the name of the bundled one, with few and large tiles."""
    folder = tmp_path_factory.mktemp("documented")
    build_tiny_model(folder / "atlas", native_px=256)
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


@pytest.mark.parametrize("code", blocks("python"))
def test_every_python_example_runs(code, cluster, environment, tmp_path):
    # Examples without a worker of their own speak to the cluster.
    env = environment if "embedded.worker" in code else os.environ | cluster.env
    path = tmp_path / "example.py"
    path.write_text(code)

    done = subprocess.run(
        [sys.executable, path], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("commands", blocks("sh"))
def test_every_shell_example_runs(commands, environment, tmp_path):
    for command in commands.splitlines():
        done = subprocess.run(
            shlex.split(command),
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_to_a_file_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())

    missing = [link for link in links if not (page.parent / link).exists()]

    assert missing == []
