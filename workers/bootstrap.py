"""The worker's composition root: device, models and renderer, built at first use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from app.attempts import Attempts, incarnation
from app.bootstrap import runtime
from app.cards import verify
from app.patience import Patience
from workers import heartbeat
from workers.device import choose_device
from workers.execution import Executor
from workers.loading import ModelCache
from workers.renderer import Renderer
from workers.stages.context import Context
from workers.upscaling import UpscalerCache


@dataclass(frozen=True, slots=True)
class WorkerRuntime:
    """What a process that renders needs."""

    executor: Executor


@lru_cache(maxsize=1)
def worker_runtime() -> WorkerRuntime:
    """This process's worker; the first unit of work loads its model."""
    app = runtime()
    device = choose_device(app.settings.device)
    if app.settings.threads:
        torch.set_num_threads(app.settings.threads)
    models = ModelCache(app.catalogue, device)
    node = heartbeat.show_models(models)
    context = Context(
        app.store,
        models,
        UpscalerCache(app.settings.upscalers, device),
        app.settings.max_input_mpx,
    )
    renderer = Renderer(context)
    attempts = Attempts(
        app.store,
        app.board,
        heartbeat_s=app.settings.heartbeat_s,
        max_deaths=app.settings.max_worker_deaths,
        me=incarnation(),
    )
    executor = Executor(
        app.store,
        app.ledger,
        renderer,
        device.type,
        attempts=attempts,
        patience=Patience.of(app.settings),
        node=node,
    )
    return WorkerRuntime(executor)


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
