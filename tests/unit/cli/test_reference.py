from __future__ import annotations

import re
from pathlib import Path

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

    names = set(get_command(cli).commands) - {"models"}  # type: ignore[attr-defined]
    assert set(headings) == names | {"models list", "models verify"}


def test_every_exit_code_is_on_the_page() -> None:
    page = PAGE.read_text()

    assert all(f"| {int(code)} |" in page for code in ExitCode)
