"""What a client does, in a process of its own: settings are read once per process.

``python -m tests.support.client VERB ARGUMENT`` prints one JSON document.
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

from app.bootstrap import runtime
from app.domain.spec import Priority
from app.domain.work import next_work
from app.jobs import present_keys
from app.planning import plan_request
from app.schemas import Manifest, read_request
from app.settings import settings
from app.workflow import WORKER_TASKS, slice_tasks

_WAIT_S = 240


def render(argument: str) -> dict[str, Any]:
    """Send a request the way a user does and wait for its manifest."""
    from app.tasks import render as task

    return dict(task.delay(json.loads(argument)).get(timeout=_WAIT_S))


def submit(argument: str) -> dict[str, Any]:
    from app.tasks import render as task

    return {"job_id": task.delay(json.loads(argument)).id}


def embedded(argument: str) -> dict[str, Any]:
    """The same request without any server."""
    from app.embedded import worker

    with worker():
        return render(argument)


def resume(job_id: str) -> dict[str, Any]:
    """Send a job on the way `tilechord resume` does, and wait for its manifest."""
    from app import client

    client.resume(job_id)
    return _wait_for_result(job_id)


def cancel(job_id: str) -> dict[str, Any]:
    """Take a job back the way ``tilechord cancel`` does."""
    from app import client

    client.cancel(job_id)
    return {"job_id": job_id}


def scatter(argument: str) -> dict[str, Any]:
    """Render with every unit up to the merge delivered twice, shuffled, outside any chord."""
    request = read_request(json.loads(argument))
    job_id = f"scatter-{random.randrange(2**32):08x}"
    plan = plan_request(request, runtime().catalogue, settings())
    runtime().ledger.accept(job_id, request, plan)
    while missing := next_work(plan, present_keys(runtime().store, plan)):
        if missing[0].stage not in WORKER_TASKS:
            break
        chord = slice_tasks(runtime(), job_id, plan, missing, Priority.NORMAL)
        messages = [task.clone() for task in chord.tasks for _ in range(2)]
        random.shuffle(messages)
        results = [task.apply_async() for task in messages]
        for result in results:
            result.get(timeout=_WAIT_S)
    return resume(job_id)


def inspect(command: str) -> dict[str, Any]:
    """What every worker answers to a control command."""
    from app.celery import celery

    return dict(getattr(celery.control.inspect(timeout=3), command)() or {})


def _wait_for_result(job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + _WAIT_S
    while not runtime().ledger.has_result(job_id):
        if time.monotonic() > deadline:
            raise TimeoutError(job_id)
        time.sleep(0.1)
    manifest: Manifest = runtime().ledger.result(job_id)
    return manifest.model_dump(mode="json")


if __name__ == "__main__":
    verb, argument = sys.argv[1:]
    sys.stdout.write(json.dumps(globals()[verb](argument)) + "\n")
