"""Logs a person can read and a machine can filter: one line per event, fields beside it.

``log.info("work.rendered", extra={"job_id": …, "seconds": …})`` becomes::

    2026-01-01T12:00:00.000Z INFO work.rendered job_id=… seconds=1.25 worker=celery@host
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import TextIO

from app.settings import LogFormat

# What every record has; whatever else hangs on one was given as a field.
_RECORD_ATTRIBUTES = {*vars(logging.makeLogRecord({})), "message", "asctime", "data"}
_PLAIN = re.compile(r"[^\s\"'=]+")
_worker: dict[str, str] = {}


def set_worker(name: str) -> None:
    """Name this process in each of its lines from now on."""
    _worker["worker"] = name


def set_up_logging(
    level: int, log_format: LogFormat = LogFormat.TEXT, stream: TextIO | None = None
) -> None:
    """Send all logs to *stream*, by default standard error: output belongs to the command."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(EventFormatter(log_format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # "Task … received" for every message; the line that says how it ended is enough.
    logging.getLogger("celery.worker.strategy").setLevel(max(level, logging.WARNING))


class EventFormatter(logging.Formatter):
    """A record as time, level, event and fields."""

    def __init__(self, log_format: LogFormat) -> None:
        super().__init__()
        self._log_format = log_format

    def format(self, record: logging.LogRecord) -> str:
        """The record's line; text and traceback stay within it, so that none can be forged."""
        event = {"time": _timestamp(record.created), "level": record.levelname}
        event["event"] = record.getMessage()
        given = {k: v for k, v in vars(record).items() if k not in _RECORD_ATTRIBUTES}
        fields = given | _worker
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        if self._log_format is LogFormat.JSON:
            return json.dumps(event | fields, default=str, ensure_ascii=False)
        words = [event["time"], event["level"], _line(event["event"])]
        return " ".join([*words, *(f"{name}={_value(value)}" for name, value in fields.items())])


def _timestamp(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _value(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _line(text: str) -> str:
    return " ".join(text.splitlines())
