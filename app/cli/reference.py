"""The reference page, from the commands themselves: ``python -m app.cli.reference``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from app.cli import cli
from app.cli.output import say
from app.exits import ExitCode

_MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "the render failed or was cancelled; stderr has the reason",
    ExitCode.USAGE: "the command line, the request or a limit; stderr names field, rule and value",
    ExitCode.CONFIGURATION: "a setting or a model",
    ExitCode.UNREACHABLE: "broker, results backend or store do not answer or have no room, "
    "or no worker takes the job",
    ExitCode.NOT_FOUND: "no such job, picture or recipe",
    ExitCode.QUALITY: "`tilechord quality --gate`: a figure misses its gate",
    ExitCode.INTERRUPTED: "Ctrl-C; `tilechord resume` finishes the job",
}
_INTRODUCTION = """\
# Command line

`tilechord COMMAND --help` tells the same. Results go to stdout, progress and errors to stderr;
with `--json` stdout is one JSON document. In a pipe tables are tab-separated lines without a
heading. An expected error is one sentence; a traceback is a bug.

Settings are `TILECHORD_*` variables. `tilechord --env-file FILE COMMAND` reads them from a file
first; a variable that is set in the environment wins.
"""


def reference() -> str:
    """The page in Markdown."""
    return "\n".join([_INTRODUCTION, *_exit_codes(), *_commands(get_command(cli), "tilechord")])


def _exit_codes() -> Iterator[str]:
    yield "## Exit codes\n\n| code | meaning |\n|---|---|"
    yield from (f"| {int(code)} | {meaning} |" for code, meaning in _MEANINGS.items())
    yield ""


def _commands(command: Any, name: str) -> Iterator[str]:
    if not hasattr(command, "commands"):
        yield from _command(command, name)
        return
    for inner in command.commands.values():
        yield from _commands(inner, f"{name} {inner.name}")


def _command(command: Any, name: str) -> Iterator[str]:
    arguments = [entry for entry in command.params if entry.param_type_name == "argument"]
    options = [entry for entry in command.params if entry.param_type_name == "option"]
    shown = [
        entry.name.upper() if entry.required else f"[{entry.name.upper()}]" for entry in arguments
    ]
    yield f"## {name}\n\n`{' '.join([name, *shown, '[OPTIONS]'])}`\n"
    yield " ".join(command.help.split()) + "\n"
    rows = [(entry.name.upper(), entry) for entry in arguments]
    rows += [(_flag(entry), entry) for entry in options]
    if rows:
        yield "| | | default |\n|---|---|---|"
        yield from (f"| `{flag}` | {_help(entry)} | {_default(entry)} |" for flag, entry in rows)
        yield ""


def _flag(option: Any) -> str:
    """With the form of its value, where that follows a rule: ``--tag KEY=VALUE``."""
    names = ", ".join(option.opts)
    return f"{names} {option.metavar}" if option.metavar else names


def _help(entry: Any) -> str:
    is_repeated = entry.param_type_name == "option" and entry.multiple
    return f"{entry.help} May be repeated." if is_repeated else str(entry.help)


def _default(entry: Any) -> str:
    if entry.param_type_name == "option" and entry.required:
        return "required"
    value = entry.default
    return f"`{value}`" if isinstance(value, (str, int, float)) and value is not False else ""


if __name__ == "__main__":
    say(reference().removesuffix("\n"))
