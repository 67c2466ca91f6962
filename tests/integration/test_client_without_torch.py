import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.card_model import write_card_model

ROOT = Path(__file__).parents[2]
# None in sys.modules makes an import fail as if the package were not installed.
NOT_INSTALLED = ("torch", "diffusers", "transformers", "safetensors", "accelerate", "torchvision")
BLOCK = f"import sys; sys.modules.update(dict.fromkeys({NOT_INSTALLED}));"


@pytest.fixture
def run(tmp_path):
    """Runs code in a Python that has none of a worker's packages."""
    write_card_model(tmp_path / "models" / "card")
    env = {name: value for name, value in os.environ.items() if "TILECHORD" not in name} | {
        "TILECHORD_MODELS_PATH": str(tmp_path / "models"),
        "TILECHORD_MODEL": "card",
        "TILECHORD_STORE_URL": f"file://{tmp_path / 'store'}",
    }

    def run_code(code, *arguments):
        return subprocess.run(
            [sys.executable, "-c", BLOCK + textwrap.dedent(code), *arguments],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )

    return run_code


def test_the_block_works(run):
    done = run("import torch")

    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr


def test_a_client_imports_the_task_and_is_told_what_to_set(run):
    done = run("""
        from app.tasks import render
        render.delay({"prompt": "a lake"})
    """)

    assert "TILECHORD_BROKER_URL is not set" in done.stderr


def test_a_client_refuses_a_bad_request_before_it_is_sent(run):
    done = run("""
        from app.tasks import render
        render.delay({"prompt": ""})
    """)

    assert "InvalidRequestError" in done.stderr


def test_the_plan_command_works(run):
    command = "from app.cli import main; main()"

    done = run(command, "plan", "a lake", "--size", "512x384", "--json")

    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["plan_hash"]) == 64


def test_a_control_worker_finds_everything_it_imports(run):
    done = run("""
        from app.celery import celery
        celery.loader.import_default_modules()
        print(*sorted(name for name in celery.tasks if name.startswith("app.")))
    """)

    tasks = "app.tasks.advance app.tasks.finish app.tasks.merge app.tasks.render"
    assert done.stdout.strip() == tasks, done.stderr
