"""Bringing services up, taking them down, and saying how they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from app.cluster import state as states
from app.cluster.ports import require_free
from app.cluster.process import start, stop
from app.cluster.service import Service
from app.cluster.state import Record, State
from app.domain.errors import ConfigurationError

Say = Callable[[str], None]

_POLL_S = 0.1
_LOG_TAIL_LINES = 15


def bring_up(
    folder: Path, tiers: Sequence[Sequence[Service]], ports: dict[str, int], say: Say
) -> None:
    """Make exactly the services of *tiers* run; each tier starts when the one before is ready.

    What already runs is kept, what runs and is not named is ended. When a service does not
    become ready, all that this call started is ended again and ``ConfigurationError`` has the
    end of its log.
    """
    with states.exclusive(folder):
        state = states.load(folder)
        wanted = {service.name for tier in tiers for service in tier}
        _end(folder, state, [name for name in state.records if name not in wanted], say)
        fresh: list[str] = []
        try:
            for number, tier in enumerate(tiers):
                missing = [service for service in tier if not state.running(service.name)]
                for service in missing:
                    require_free(service.name, service.ports)
                    state.records[service.name] = _launch(folder, service, number)
                    state.ports = ports
                    fresh.append(service.name)
                    # At once: if this process dies while waiting, down still finds the service.
                    states.save(folder, state)
                _wait_ready(tier, state, say)
        except BaseException:
            _end(folder, state, fresh, say)
            raise


def take_down(folder: Path, say: Say) -> None:
    """End what ``bring_up`` started in *folder*, the last tier first; their files stay."""
    with states.exclusive(folder):
        state = states.load(folder)
        _end(folder, state, list(state.records), say)


def log_path(folder: Path, name: str) -> Path:
    return folder / "logs" / f"{name}.log"


def log_tail(log: Path, lines: int = _LOG_TAIL_LINES) -> str:
    """The last *lines* of *log*, or a dash when there are none."""
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        text = ""
    return "\n".join(text.splitlines()[-lines:]) or "-"


def _launch(folder: Path, service: Service, tier: int) -> Record:
    log = log_path(folder, service.name)
    with suppress(FileNotFoundError):
        log.replace(log.with_suffix(".previous.log"))
    process = start(service.argv, env=service.env, folder=service.folder, log=log)
    return Record(service.name, process, tier, service.ports, str(log), service.grace_s)


def _wait_ready(tier: Sequence[Service], state: State, say: Say) -> None:
    began = time.monotonic()
    waiting = list(tier)
    while waiting:
        for service in list(waiting):
            record = state.records[service.name]
            waited_s = time.monotonic() - began
            if not record.is_running:
                raise _not_ready(record, f"ended after {waited_s:.1f} s")
            if service.is_ready():
                say(f"{service.name} is ready ({waited_s:.1f} s)")
                waiting.remove(service)
            elif waited_s > service.start_limit_s:
                raise _not_ready(record, f"was not ready after {waited_s:.0f} s")
        time.sleep(_POLL_S)


def _not_ready(record: Record, what: str) -> ConfigurationError:
    log = Path(record.log)
    return ConfigurationError(
        f"{record.name} must become ready, it {what}; {log} ends with:\n{log_tail(log)}"
    )


def _end(folder: Path, state: State, names: Iterable[str], say: Say) -> None:
    """End the records called *names*, the highest tier first, and forget them."""
    chosen = sorted((state.records[name] for name in names), key=_tier, reverse=True)
    for _, group in groupby(chosen, key=_tier):
        records = list(group)
        running = {record.process: record.grace_s for record in records if record.is_running}
        stop(running)
        for record in records:
            del state.records[record.name]
            say(
                f"{record.name} stopped" if record.process in running else f"{record.name} was gone"
            )
        states.save(folder, state)


def _tier(record: Record) -> int:
    return record.tier
