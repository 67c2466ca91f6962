"""What a start does without: the imports that make it slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.card_model import write_card_model
from tests.support.installation import Installation


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation with one job."""
    root: Path = tmp_path_factory.mktemp("site")
    write_card_model(root / "models" / "tiny")
    made = Installation(root, root / "models", "tiny")
    made.accept("job-1")
    return made


@pytest.mark.parametrize(
    "command",
    [["plan", "a hill"], ["jobs"], ["status", "job-1"], ["models", "list"], ["--help"]],
    ids=lambda command: command[0],
)
def test_commands_that_only_look_import_neither_torch_nor_celery(
    command: list[str], site: Installation
) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'diffusers', 'transformers', 'celery'):\n"
        "    sys.modules[name] = None\n"  # importing any of them now fails
        f"sys.argv = ['tilechord', *{command!r}]\n"
        "from app.cli import main\n"
        "main()\n"
    )

    result = site.python(code)

    assert result.returncode == 0, result.stderr


def test_a_workers_tasks_are_imported_without_the_libraries_of_diffusion(
    site: Installation,
) -> None:
    late = ("diffusers", "transformers", "torch._dynamo")

    result = site.python(
        f"import sys, workers.tasks; print([m for m in {late} if m in sys.modules])"
    )

    assert result.stdout.strip() == "[]"
