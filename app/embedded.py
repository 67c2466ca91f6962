"""A worker inside this process: the same tasks and chords without any server."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socket import gethostname
from typing import Any

from celery.app.trace import setup_worker_optimizations
from celery.result import allow_join_result
from celery.utils.nodenames import nodename
from celery.worker import WorkController, state

from app import heartbeat
from app.bootstrap import runtime
from app.celery import celery
from app.domain.errors import ConfigurationError
from app.scheduling.serve import DispatcherThread
from app.settings import settings

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 30.0
_running = threading.Event()
# Celery keeps one stop mark for the whole process: held from the start of a worker to the end of
# its thread, which may come after the end of its block.
_only_one = threading.Lock()


def is_worker_running() -> bool:
    return _running.is_set()


@contextmanager
def worker(name: str = "embedded") -> Iterator[None]:
    """Serve all queues in this process until the block ends.

    One thread: a model's weights and torch's own threads fill the machine already.
    Work still queued at the end is dropped; ``app.client.resume`` goes on with its job.
    Raises ``ConfigurationError`` when a broker is configured, the device is not there or another
    worker still runs.
    """
    if not settings().is_embedded:
        raise ConfigurationError(
            "an embedded worker needs TILECHORD_BROKER_URL unset or memory://, got a broker"
        )
    controller, thread = _start(name)
    dispatcher = DispatcherThread(runtime(), name, is_adopting=False)
    try:
        if not controller.ready.wait(_START_TIMEOUT_S):
            raise ConfigurationError(f"the embedded worker did not start in {_START_TIMEOUT_S:g} s")
        dispatcher.start()
        _running.set()
        # The pool forbids waiting for results anywhere in its process; here the main thread may.
        with allow_join_result():
            yield
    finally:
        _running.clear()
        dispatcher.stop()
        _tell_to_stop()
        thread.join(_STOP_TIMEOUT_S)


def _start(name: str) -> tuple[_Controller, threading.Thread]:
    if not _only_one.acquire(blocking=False):
        raise ConfigurationError("a process can run one embedded worker at a time, one runs still")
    try:
        state.should_stop = None  # a worker that ended by itself could not take its mark back
        _get_ready()
        controller = _Controller(
            app=celery,
            hostname=nodename(name, gethostname()),
            pool="threads",
            concurrency=1,
            loglevel="WARNING",
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
        )
        thread = threading.Thread(
            target=_serve, args=(controller,), name="tilechord-worker", daemon=True
        )
        thread.start()
    except BaseException:
        _only_one.release()
        raise
    return controller, thread


def _get_ready() -> None:
    """Import the tasks and build what renders; whatever is wrong with it reaches the caller.

    By name: app must not depend on workers. Not by a signal: Celery logs what fails there and goes
    on with a worker that can do nothing.
    """
    celery.loader.import_task_module("workers.tasks")
    importlib.import_module("workers.bootstrap").own_executor()
    celery.finalize()


def _tell_to_stop() -> None:
    """Set the stop mark, and wake Celery's loop: without messages it looks every two seconds."""
    state.should_stop = 0  # type: ignore[assignment]  # an exit code; the stubs know None only
    for _ in range(2):  # it waits once more after it has seen the mark
        celery.control.broadcast("ping")


def _serve(controller: _Controller) -> None:
    """Run until told to stop, and leave nothing to the next worker."""
    try:
        controller.start()
    finally:
        celery.control.purge()  # in memory, queues would outlive their worker
        state.should_stop = None
        _only_one.release()


class _Controller(WorkController):
    """Tells when the consumer is ready to take messages."""

    def __init__(self, *, hostname: str, **options: Any) -> None:
        self.ready = threading.Event()
        self._node = hostname
        super().__init__(hostname=hostname, **options)

    def on_before_init(self, **_options: Any) -> None:
        # What `celery worker` does too; it also makes this name the one tasks see.
        setup_worker_optimizations(self.app, self._node)

    def on_consumer_ready(self, consumer: object) -> None:
        heartbeat.begin(consumer)  # `celery worker` does it by a signal, and so ends both
        self.ready.set()
