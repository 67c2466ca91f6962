"""What a process tells by its exit status; all command lines say it alike."""

from __future__ import annotations

import os
from enum import IntEnum
from typing import NoReturn

from app.domain.errors import (
    AdmissionError,
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
    """Broker, results backend or store do not answer or have no room, or no worker takes the job;
    try again later."""
    NOT_FOUND = 5
    QUALITY = 6
    """``quality --gate``: a figure of the picture misses its gate."""
    INTERRUPTED = 130
    """Ctrl-C, as shells report it."""


WORKER_LOST = 75
"""EX_TEMPFAIL: a worker ended itself, and a supervisor starts it again."""

_CODES: tuple[tuple[type[RenderError] | tuple[type[RenderError], ...], ExitCode], ...] = (
    ((InvalidRequestError, InvalidPlanError, UnsupportedError), ExitCode.USAGE),
    ((ConfigurationError, ModelError), ExitCode.CONFIGURATION),
    ((AdmissionError, BrokerUnavailableError, StorageUnavailableError), ExitCode.UNREACHABLE),
    (NotFoundError, ExitCode.NOT_FOUND),
)


def exit_code(error: RenderError) -> ExitCode:
    """The exit code of *error*; what is not listed is a render that failed."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)


def exit_for_good() -> NoReturn:
    """End the process at once: nothing is acknowledged, so another worker gets the message."""
    os._exit(WORKER_LOST)
