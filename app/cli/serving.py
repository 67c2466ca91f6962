"""Starting and inspecting Celery workers."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator
from typing import NoReturn

from app import ahead, bindings
from app.bootstrap import runtime
from app.cli.broker import require_broker
from app.domain.errors import ConfigurationError, InvalidRequestError
from app.node_queues import strategy_of
from app.queues import queue_name
from app.settings import Settings, settings

_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")


def configure(*, device: str | None, metrics_port: int | None) -> None:
    """Settings given as options; the worker that replaces this process reads them again."""
    for name, value in (("DEVICE", device), ("METRICS_PORT", metrics_port)):
        if value is not None:
            os.environ[f"TILECHORD_{name}"] = str(value)


def read_pools(text: str) -> list[str]:
    """The pools named in *text*. Raises ``InvalidRequestError`` for one that is not set up."""
    known = settings().pools
    pools = [pool.strip() for pool in text.split(",")]
    for pool in pools:
        if pool not in known:
            raise InvalidRequestError(
                f"--queues must name pools of TILECHORD_POOLS ({', '.join(known)}), got {pool!r}"
            )
    return list(dict.fromkeys(pools))


def is_rendering(pools: list[str]) -> bool:
    """Whether any of *pools* is bound to work that needs a model, or takes it over."""
    if not {*settings().bigger_pool.values()}.isdisjoint(pools):
        return True
    return any(bindings.is_rendering(key) for pool in pools for key in settings().pools[pool])


def check(pools: list[str]) -> Iterator[str]:
    """Prove that this worker could work; yields what was found.

    Raises the ``RenderError`` of the first thing that would keep it from working.
    """
    _check_timeouts(settings())
    yield f"broker: RabbitMQ {require_broker('a worker')}, results: ok"
    if not is_rendering(pools):
        runtime().store.probe()
        yield "store: ok"
        return
    device = _check_renderer()
    if device.startswith("cuda") and len(pools) > 1:
        raise ConfigurationError(
            f"a worker on a GPU must serve one pool, got {', '.join(pools)}: with several, "
            "tiles would be parked behind a busy device"
        )
    yield f"store, model and device {device}: ok"


def replace_process(pools: list[str], name: str) -> NoReturn:
    """Become ``celery worker``: signals and exit code are then its own."""
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(
            f"--name must be up to 60 characters of A-Z, a-z, 0-9, '_', '-', got {name[:60]!r}"
        )
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *celery_arguments(pools, name)])


def celery_arguments(pools: list[str], name: str) -> list[str]:
    """Arguments of the interpreter that make it the Celery worker of *pools*."""
    return [
        *("-m", "celery", "-A", "app", "worker"),
        # Threads: the process stays responsive to heartbeats and control.
        *("-P", "threads", "-c", str(_threads(pools))),
        *("-Q", ",".join(queue_name(pool) for pool in pools)),
        *(("--include", "workers.tasks") if is_rendering(pools) else ()),
        *("-n", f"{name}@%h", "--without-gossip", "--loglevel", "INFO"),
    ]


def _threads(pools: list[str]) -> int:
    """One, or a second for the next message while the end of one is stored."""
    chosen = settings()
    names_node = any(strategy_of(chosen, pool).names_node for pool in pools)
    is_ahead = len(pools) == 1 and is_rendering(pools) and not names_node
    return ahead.THREADS if is_ahead else 1


def _check_timeouts(chosen: Settings) -> None:
    """A delivery that outlives RabbitMQ's timeout ends one worker after the other."""
    limit_s = chosen.consumer_timeout_s / 2
    if limit_s and chosen.unit_timeout_s >= limit_s:
        raise ConfigurationError(
            "TILECHORD_UNIT_TIMEOUT_S must be below half of TILECHORD_CONSUMER_TIMEOUT_S, "
            f"which is {limit_s:g} s, got {chosen.unit_timeout_s:g} s"
        )


def _check_renderer() -> str:
    """Imported by name: app must not depend on workers, and clients have no torch."""
    try:
        bootstrap = importlib.import_module("workers.bootstrap")
    except ModuleNotFoundError as err:
        raise ConfigurationError(
            f"a worker that renders needs the package {err.name}; "
            "install tilechord with its worker extra"
        ) from err
    return str(bootstrap.check_worker())
