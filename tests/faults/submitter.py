"""A client that orders pictures without end, tries again when it is refused, and looks after them.

``python -m tests.faults.submitter SEED OPEN HISTORY`` keeps OPEN jobs open until its input ends.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from app import client
from app.bootstrap import Runtime, build_runtime
from app.domain.errors import RenderError, StorageUnavailableError
from app.domain.spec import Priority
from app.jobs import JobLedger
from app.settings import Settings, settings
from tests.faults.ends import end_of
from tests.faults.history import History
from tests.faults.requests import Deed, deeds_of, is_cancelled, request_of

DIRECT_S3 = "TILECHORD_FAULT_DIRECT_S3"
_POLL_S = 0.3
_RETRY_S = 1.0
_PATIENCE_S = 45.0
"""A job that takes longer no longer keeps the client from ordering the next one."""
_MOST_WIDTHS = 4


@dataclass
class _Order:
    job_id: str
    number: int
    cancel_at: float | None
    since: float
    deeds: list[Deed]
    """Those to come."""


def main(seed: int, width: int, path: Path) -> None:
    history, runtime = History(path), _direct_runtime()
    ledger = runtime.ledger
    orders: list[_Order] = []
    number = 0
    while not _is_over():
        with suppress(StorageUnavailableError):  # killed just now: look again
            in_line = {entry.job_id for entry in runtime.entries.all()}
            orders = [
                order
                for order in orders
                if order.job_id in in_line or not _has_ended(ledger, order, history)
            ]
            for order in orders:
                _cancel_in_time(ledger, order, history)
                _do_in_time(ledger, order, history)
        patient = sum(time.monotonic() - order.since < _PATIENCE_S for order in orders)
        if patient < width and len(orders) < _MOST_WIDTHS * width:
            orders.append(_submit(seed, number, history))
            number += 1
        else:
            time.sleep(_POLL_S)
    _take_up(runtime, orders)


def _submit(seed: int, number: int, history: History) -> _Order:
    """Send the order until it is acknowledged; the id is the client's, so that it stays one job."""
    from app.tasks import render

    job_id, request = f"soak-{seed}-{number:05d}", request_of(seed, number)
    history.add("submit", job_id=job_id, number=number, request=request)
    while True:
        start = time.monotonic()
        try:
            render.apply_async(args=(request,), task_id=job_id)
        except RenderError as err:
            took_s = round(time.monotonic() - start, 2)
            history.add("refused", job_id=job_id, seconds=took_s, reason=str(err))
        else:
            took_s = round(time.monotonic() - start, 2)
            history.add("acknowledged", job_id=job_id, seconds=took_s)
            break
        if _is_over(_RETRY_S):
            break
    random = Random(number)
    now = time.monotonic()
    late = now + random.uniform(0.0, 3.0)
    cancel_at = late if is_cancelled(seed, number) else None
    deeds = [] if cancel_at else deeds_of(seed, number)  # nothing that would take back the end
    return _Order(job_id, number, cancel_at, now, deeds)


def _has_ended(ledger: JobLedger, order: _Order, history: History) -> bool:
    state = end_of(ledger, order.job_id)
    if state:
        history.add("ended", job_id=order.job_id, state=state)
    return bool(state)


def _cancel_in_time(ledger: JobLedger, order: _Order, history: History) -> None:
    if order.cancel_at and time.monotonic() > order.cancel_at and ledger.has_request(order.job_id):
        ledger.cancel(order.job_id)
        history.add("cancel", job_id=order.job_id)
        order.cancel_at = None


def _do_in_time(ledger: JobLedger, order: _Order, history: History) -> None:
    """What is due, as users do it, through all faults; what is refused is tried again later."""
    while order.deeds and time.monotonic() > order.since + order.deeds[0].after_s:
        if end_of(ledger, order.job_id):  # to resume a job that has failed would hide that
            order.deeds.clear()
            return
        deed = order.deeds[0]
        try:
            _do(order.job_id, deed)
        except RenderError as err:
            history.add("refused-deed", job_id=order.job_id, name=deed.name, reason=str(err))
            return
        history.add(deed.name, job_id=order.job_id, priority=deed.priority)
        order.deeds.remove(deed)


def _do(job_id: str, deed: Deed) -> None:
    match deed.name:
        case "pause":
            client.pause(job_id)
        case "resume":
            client.resume(job_id)
        case "prioritise":
            client.prioritise(job_id, Priority(deed.priority))


def _take_up(runtime: Runtime, orders: Sequence[_Order]) -> None:
    """Leave no job paused: nobody would look after it again."""
    for order in orders:
        if any(deed.name == "resume" for deed in order.deeds):
            runtime.entries.unpause(order.job_id)


def _direct_runtime() -> Runtime:
    """The jobs past the faulty front: looking after them is not what is tested."""
    values = settings().model_dump() | {"s3_endpoint": os.environ[DIRECT_S3]}
    return build_runtime(Settings.model_validate(values))


def _is_over(wait_s: float = 0.0) -> bool:
    return bool(select.select([sys.stdin], [], [], wait_s)[0])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
