"""The worker's composition root: device, models and renderer, built before the first unit."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import torch
from celery.signals import worker_init, worker_ready

from app import notices
from app.attempts import Attempts
from app.bootstrap import Runtime, runtime
from app.cards import verify
from app.domain.errors import RenderError
from app.exits import ExitCode, exit_code
from app.heartbeat import own_node
from app.patience import Patience
from app.settings import settings
from workers import heartbeat
from workers.device import choose_device
from workers.execution import Executor

if TYPE_CHECKING:
    from workers.renderer import Renderer

log = logging.getLogger(__name__)

worker_init.connect(heartbeat.describe_device)
worker_ready.connect(heartbeat.watch_node)


@lru_cache(maxsize=1)
def own_executor() -> Executor:
    """What this process renders with; the first unit of work loads its model."""
    app = runtime()
    device = choose_device(app.settings.device)
    if app.settings.threads:
        torch.set_num_threads(app.settings.threads)
    executor = Executor(
        app.store,
        app.ledger,
        open_renderer(app, device),
        device.type,
        attempts=Attempts.of(app.settings, app.store, app.board),
        patience=Patience.of(app.settings),
        node=own_node(),
        tell_all=partial(notices.send_meanwhile, app.settings),
    )
    notices.listen(executor.tell_unwanted)
    return executor


def open_renderer(app: Runtime, device: torch.device) -> Renderer:
    """The renderer on *device*, whose loaded models this process's node shows.

    Diffusion's libraries are imported here: that takes seconds, which a process that only checks
    its settings need not wait.
    """
    with _without_collections():
        from workers.loading import ModelCache
        from workers.renderer import Renderer
        from workers.stages.context import Context
        from workers.upscaling import UpscalerCache

    models = ModelCache(app.catalogue, device)
    own_node().describe_models(lambda: models.warm)
    upscalers = UpscalerCache(app.settings.upscalers, device)
    return Renderer(Context(app.store, models, upscalers, app.settings.max_input_mpx))


@contextmanager
def _without_collections() -> Iterator[None]:
    """What is imported is never garbage: not to look for any saved 0.7 and 2.0 s of 8 (Xeon)."""
    was_enabled = gc.isenabled()  # an embedded worker lives in somebody's program
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@worker_init.connect
def _prepare(**_: object) -> None:
    """Get ready before the first unit is taken; a worker that cannot must not take any."""
    if settings().is_embedded:  # ready already, and its process has more to do than to render
        return
    try:
        own_executor()
    except Exception as err:  # Celery would log it and go on
        log.exception("worker.unusable")
        code = exit_code(err) if isinstance(err, RenderError) else ExitCode.CONFIGURATION
        raise SystemExit(code) from err
    # What was imported, 450,000 objects, is never garbage, and yet every collection looked through
    # all of it: 240 ms on an AMD EPYC core, less than 1 ms once it is set apart. Collections are
    # forced when memory runs short.
    gc.collect()
    gc.freeze()


def check_worker() -> str:
    """Prove before taking work that device, store and default model are usable.

    Returns the device's name. Raises ``ConfigurationError``, ``ModelError`` or
    ``StorageUnavailableError``.
    """
    app = runtime()
    device = choose_device(app.settings.device)
    app.store.probe()
    verify(app.catalogue.folder(app.settings.model))
    return str(device)
