"""From an error to one sentence on stderr and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from app.domain.errors import RenderError
from app.exits import ExitCode, exit_code


class ErrorReportingGroup(TyperGroup):
    """Commands whose expected errors end in one sentence; anything else is a bug and shows."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **options: Any
    ) -> Any:
        """Run the command line and leave the process with its exit code."""
        options["standalone_mode"] = False
        try:
            code = super().main(args=args, prog_name=prog_name, **options)
        except typer.TyperException as err:
            if sentence := err.format_message().removesuffix("."):  # empty: help was shown
                _complain(sentence)
            code = err.exit_code
        except RenderError as err:
            _complain(str(err))
            code = exit_code(err)
        except typer.Abort:
            code = ExitCode.INTERRUPTED
        sys.exit(code if isinstance(code, int) else ExitCode.OK)


def _complain(sentence: str) -> None:
    typer.echo(f"tilechord: {sentence}", err=True)
