"""What people and scripts read: rich on a terminal, plain lines in a pipe, JSON on request."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence

import typer


def say(line: str) -> None:
    """One line of result, on stdout."""
    typer.echo(line)


def note(line: str) -> None:
    """One line about what is going on, on stderr: it never mixes with a result."""
    typer.echo(line, err=True)


def say_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def say_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on a terminal; in a pipe tab-separated lines without heading, for ``cut``."""
    if not sys.stdout.isatty():
        for row in rows:
            say("\t".join(str(cell) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, header_style="bold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))  # Text: a prompt's [brackets] stay
    Console().print(table)


def say_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values, one pair a line, aligned."""
    shown = [(name, str(value)) for name, value in pairs]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        say(f"{name:<{width}}  {value}")


def short(text: str, limit: int) -> str:
    """*text* on one line of at most *limit* characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def spoken_bytes(size_bytes: int) -> str:
    """``512 bytes``, ``3.4 MB``: in powers of 1000."""
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    size, units = float(size_bytes), iter(("kB", "MB", "GB", "TB"))
    unit = ""
    while size >= 1000 and unit != "TB":
        size, unit = size / 1000, next(units)
    return f"{size:.1f} {unit}"


def spoken_s(seconds: float) -> str:
    """``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
