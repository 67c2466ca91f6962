"""The heartbeat of a Celery worker: shows its node on the live board, whatever it renders.

Celery imports this module in every worker (``imports`` in ``celeryconfig``). A thread of its own,
because the thread that renders is busy for minutes and Celery's loop waits for the broker.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from queue import Empty
from typing import Any

from celery.signals import worker_ready, worker_shutdown, worker_shutting_down

from app.attempts import incarnation
from app.bootstrap import runtime
from app.celery import celery
from app.domain.errors import BrokerUnavailableError
from app.live.port import LiveBoard, Record
from app.node_queues import node_queue_name
from app.nodes import NODE_TTL_S, NODES
from app.own_node import OwnNode
from app.queues import queue_name
from app.settings import Settings
from app.watchdog import Watchdog

log = logging.getLogger(__name__)
_STOP_TIMEOUT_S = 10.0
_STOP: Record = {"kind": "stop"}


@lru_cache(maxsize=1)
def own_node() -> OwnNode:
    """This process's node."""
    return OwnNode()


class Heartbeat:
    """Shows *node* every *period_s* and tells its events, until it is stopped.

    A board that does not answer is left alone until the next beat: what was to be told is
    dropped, the store has it.
    """

    def __init__(self, board: LiveBoard, node: OwnNode, name: str, period_s: float) -> None:
        self._board = board
        self._node = node
        self._name = name
        self._period_s = period_s
        self._is_heard = True
        self._thread = threading.Thread(target=self._run, name="tilechord-heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take the node off the board; what it was to tell before is told first."""
        self._node.outbox.put(_STOP)
        self._thread.join(_STOP_TIMEOUT_S)

    def _run(self) -> None:
        next_s = time.monotonic()
        while (event := self._take(next_s - time.monotonic())) is not _STOP:
            if event is not None:
                with self._surviving():
                    self._board.tell(event)
            if event is None or time.monotonic() >= next_s:
                next_s = time.monotonic() + self._period_s
                with self._surviving():
                    self._board.show(NODES, self._name, self._node.record(), ttl_s=NODE_TTL_S)
        with self._surviving():
            self._board.hide(NODES, self._name)

    def _take(self, timeout_s: float) -> Record | None:
        """The next event; ``None`` when it is time for a beat."""
        try:
            return self._node.outbox.get(timeout=max(timeout_s, 0.0))
        except Empty:
            return None

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """No failure ends the thread: it would look as if the node were lost."""
        try:
            yield
        except BrokerUnavailableError as err:
            if self._is_heard:
                log.info("node.unheard", extra={"reason": str(err)})
            self._is_heard = False
            self._forget()
        except Exception:
            log.exception("node.beat_failed")
        else:
            if not self._is_heard:
                log.info("node.heard_again")
            self._is_heard = True

    def _forget(self) -> None:
        """Drop what waits: told minutes later it would mislead. The order to stop stays."""
        outbox = self._node.outbox
        for _ in range(outbox.qsize()):
            event = outbox.get()
            if event is _STOP:
                outbox.put(event)


_running: list[Heartbeat] = []


def begin(consumer: Any) -> None:
    """Show the worker of Celery's *consumer* from now on."""
    app = runtime()
    node, name = own_node(), str(consumer.hostname)
    node.introduce(
        node=name,
        pid=os.getpid(),
        incarnation=incarnation(),
        pool=",".join(served_pools(consumer, app.settings)),
        labels=app.settings.labels,
        weight=app.settings.node_weight,
        queue=own_queue(consumer, name),
    )
    heartbeat = Heartbeat(app.board, node, name, app.settings.heartbeat_s)
    _running.append(heartbeat)
    heartbeat.start()


def end() -> None:
    """Hide the node, if it is shown."""
    while _running:
        _running.pop().stop()


def served_pools(consumer: Any, chosen: Settings) -> list[str]:
    """The pools whose queues *consumer* takes from."""
    names = set(consumer.app.amqp.queues.consume_from)
    return [pool for pool in chosen.pools if queue_name(pool) in names]


def own_queue(consumer: Any, name: str) -> str:
    """The queue of *consumer*'s node alone, if it has one."""
    queue = node_queue_name(name)
    return queue if queue in consumer.app.amqp.queues.consume_from else ""


def is_own(consumer: Any) -> bool:
    """Whether *consumer* is a worker of this application: a client may have one of its own, and
    signals are those of the whole process."""
    return consumer.app is celery


@worker_ready.connect
def _begin(sender: Any, **_: object) -> None:
    """Only of a process of its own; an embedded worker shows itself and may not end anything."""
    if not is_own(sender):
        return
    begin(sender)
    chosen = runtime().settings
    timeout_s, grace_s = chosen.unit_timeout_s, chosen.spot_grace_s
    Watchdog(own_node(), unit_timeout_s=timeout_s, spot_grace_s=grace_s).start()
    atexit.register(end)  # a cold shutdown sends no signal


@worker_shutting_down.connect
def _drain(sig: str, **_: object) -> None:
    own_node().drain(sig)


@worker_shutdown.connect
def _end(**_: object) -> None:
    end()
