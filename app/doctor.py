"""Is this installation able to render? Each part is tried, none is assumed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from app.attendance import attendance
from app.bootstrap import Runtime, build_runtime
from app.cards import verify
from app.domain.errors import (
    ConfigurationError,
    RenderError,
    StorageUnavailableError,
    TransientError,
)
from app.exits import ExitCode
from app.queues import check_broker, check_results, control_pool
from app.settings import Settings, settings

_MIN_FREE_BYTES = 1 << 30  # a picture of 300 megapixels and its tiles take about that
_RENDERING_PACKAGES = ("torch", "diffusers", "transformers", "safetensors")


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one part; *advice* says what to do when it failed."""

    name: str
    message: str
    advice: str = ""
    exit_code: ExitCode = ExitCode.OK

    @property
    def is_ok(self) -> bool:
        return self.exit_code is ExitCode.OK


def examine() -> list[Finding]:
    """Try every part; a failure of one hides no other."""
    try:
        chosen = settings()
        app = build_runtime(chosen)
    except RenderError as err:
        advice = "correct the variable; docs/reference/settings.md lists all"
        return [Finding("settings", str(err), advice, ExitCode.CONFIGURATION)]
    return [_try(name, advice, check) for name, advice, check in _checks(chosen, app)]


def _checks(chosen: Settings, app: Runtime) -> Iterator[tuple[str, str, Callable[[], str]]]:
    yield (
        "packages",
        "install them with: pip install 'tilechord[worker]'",
        lambda: check_packages(chosen),
    )
    yield (
        "broker",
        "start RabbitMQ, or correct TILECHORD_BROKER_URL and TILECHORD_QUEUE_PROFILE",
        lambda: _describe_broker(chosen),
    )
    yield (
        "results",
        "set TILECHORD_RESULT_BACKEND to the redis:// address of a Redis that runs",
        lambda: check_results(chosen),
    )
    yield (
        "workers",
        "start the Redis of TILECHORD_RESULT_BACKEND: workers show themselves there",
        lambda: _describe_workers(app, chosen),
    )
    yield (
        "store",
        "start the store, or correct TILECHORD_STORE_URL and TILECHORD_S3_*",
        lambda: _probe(app, chosen),
    )
    yield (
        "model",
        "tilechord models list shows what is there; set TILECHORD_MODELS_PATH and TILECHORD_MODEL",
        lambda: _check_model(app, chosen),
    )
    yield "disk", "free some space, or set TMPDIR to a larger disk", lambda: check_disk(chosen)


def _try(name: str, advice: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, check())
    except TransientError as err:
        return Finding(name, str(err), advice, ExitCode.UNREACHABLE)
    except RenderError as err:
        return Finding(name, str(err), advice, ExitCode.CONFIGURATION)


def check_packages(chosen: Settings) -> str:
    """Raises ``ConfigurationError`` when this process would have to render and cannot."""
    missing = [name for name in _RENDERING_PACKAGES if find_spec(name) is None]
    if missing and chosen.is_embedded:
        raise ConfigurationError(f"rendering in this process needs {', '.join(missing)}")
    found = f"celery {version('celery')}"
    if missing:
        return f"{found}; a client only, without {', '.join(missing)}"
    try:
        return f"{found}, torch {version('torch')}, diffusers {version('diffusers')}"
    except PackageNotFoundError:  # importable but not installed, as from a source tree
        return found


def _describe_broker(chosen: Settings) -> str:
    if chosen.is_embedded:
        return "none, every render runs in the process that asks for it"
    return f"RabbitMQ {check_broker(chosen)} with queue profile {chosen.queue_profile}"


def _describe_workers(app: Runtime, chosen: Settings) -> str:
    """A pool without workers is no failure: they may be started when there is work."""
    if chosen.is_embedded:
        return "none, as there is no broker"
    alive = attendance(app)
    told = ", ".join(f"{count or 'none'} of pool {pool}" for pool, count in alive.items())
    if alive[control := control_pool(chosen)]:
        return f"alive are {told}"
    return (
        f"alive are {told}; nothing is planned or given out before one is started with: "
        f"tilechord worker --queues {control}"
    )


def _probe(app: Runtime, chosen: Settings) -> str:
    app.store.probe()
    return f"{chosen.store_url} writes once"


def _check_model(app: Runtime, chosen: Settings) -> str:
    files = verify(app.catalogue.folder(chosen.model))
    revision = app.catalogue.card(chosen.model).revision
    return f"{chosen.model} {revision[:12]}, {files} files are as in the manifest"


def check_disk(chosen: Settings) -> str:
    """Raises ``StorageUnavailableError`` when a folder that renders write to is nearly full."""
    folders = [Path(tempfile.gettempdir())]
    address = urlsplit(chosen.store_url)
    if address.scheme == "file":
        folders.append(Path(unquote(address.path)))
    free = {folder: shutil.disk_usage(_existing(folder)).free for folder in folders}
    for folder, free_bytes in free.items():
        if free_bytes < _MIN_FREE_BYTES:
            raise StorageUnavailableError(
                f"{folder} must have {_MIN_FREE_BYTES >> 20} MiB free, got {free_bytes >> 20} MiB"
            )
    return ", ".join(f"{size >> 30} GiB free in {folder}" for folder, size in free.items())


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there already."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder if os.access(folder, os.R_OK) else folder.parent
