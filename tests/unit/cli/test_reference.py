from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from app.cli import cli
from app.cli.reference import reference
from app.exits import ExitCode

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"


def test_the_page_tells_what_the_commands_say() -> None:
    # Write it anew with: python -m app.cli.reference > docs/reference/cli.md
    assert PAGE.read_text() == reference()


def test_every_command_is_on_the_page() -> None:
    headings = re.findall(r"^## tilechord (.+)$", PAGE.read_text(), re.MULTILINE)

    assert set(headings) == set(command_names(get_command(cli)))


def command_names(group: Any, prefix: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from command_names(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}"


@pytest.mark.parametrize(
    "row",
    [
        "| `--size WIDTHxHEIGHT` | Size in pixels, ",
        "| `--region WIDTHxHEIGHT+LEFT+TOP=PROMPT` | "
        "A part with a prompt of its own. May be repeated. |  |\n",
        "| `--tag KEY=VALUE` | Kept in the recipe. May be repeated. |  |\n",
        "| `--grid TILExOVERLAP` | ",
        "| `--tile ROW,COLUMN` | ",
        "| `--seed` | Another seed, another part. | required |\n",
        "| `JOB` | Job id, as `submit` prints it. |  |\n",
    ],
    ids=["size", "region", "tag", "grid", "tile", "required", "argument"],
)
def test_a_row_tells_how_an_option_is_typed(row: str) -> None:
    assert row in reference()


def test_every_exit_code_is_on_the_page() -> None:
    page = PAGE.read_text()

    assert all(f"| {int(code)} |" in page for code in ExitCode)
