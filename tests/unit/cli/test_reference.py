from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def test_every_exit_code_is_on_the_page() -> None:
    page = PAGE.read_text()

    assert all(f"| {int(code)} |" in page for code in ExitCode)
