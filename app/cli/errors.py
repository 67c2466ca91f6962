"""From an error to one sentence on stderr and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import typer
from typer.core import TyperGroup

from app.domain.errors import (
    BrokerUnavailableError,
    ConfigurationError,
    InvalidPlanError,
    InvalidRequestError,
    ModelError,
    NotFoundError,
    RenderError,
    StorageUnavailableError,
    UnsupportedError,
)


class ExitCode(IntEnum):
    """What a script can tell from the exit status; part of the documented interface."""

    OK = 0
    FAILED = 1
    """The render failed or was cancelled."""
    USAGE = 2
    """The command line, the request or a limit."""
    CONFIGURATION = 3
    """A setting or a model."""
    UNREACHABLE = 4
    """Broker, results backend or store do not answer, or have no room; try again later."""
    NOT_FOUND = 5
    INTERRUPTED = 130
    """Ctrl-C, as shells report it."""


_CODES: tuple[tuple[type[RenderError] | tuple[type[RenderError], ...], ExitCode], ...] = (
    ((InvalidRequestError, InvalidPlanError, UnsupportedError), ExitCode.USAGE),
    ((ConfigurationError, ModelError), ExitCode.CONFIGURATION),
    ((BrokerUnavailableError, StorageUnavailableError), ExitCode.UNREACHABLE),
    (NotFoundError, ExitCode.NOT_FOUND),
)


def exit_code(error: RenderError) -> ExitCode:
    """The exit code of *error*; what is not listed is a render that failed."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)


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
