"""A worker of the test: the real Celery worker and tasks around a renderer without a model.

``python -m tests.faults.worker NAME POOL``
"""

from __future__ import annotations

import os
import sys
import time

from tests.faults import crash_points, namespaces, recording, renderer

SKEW = "TILECHORD_FAULT_CLOCK_S"


def main(name: str, pool: str) -> None:
    if namespace := os.environ.get(namespaces.ENTERED):
        namespaces.enter(namespace)
    _skew_clock(float(os.environ.get(SKEW, "0")))
    recording.install()  # within the places to die: who dies after a write has told of it
    crash_points.install()
    from app.celery import celery
    from app.cli.serving import celery_arguments, is_rendering

    if is_rendering([pool]):
        renderer.install()
        recording.install_looks()
    arguments = celery_arguments([pool], name)
    celery.worker_main(arguments[arguments.index("worker") :])


def _skew_clock(seconds: float) -> None:
    """Let every clock but the monotonic one, and the one that signs S3 requests, be wrong."""
    if seconds:
        right, right_ns = time.time, time.time_ns
        time.time = lambda: right() + seconds
        time.time_ns = lambda: right_ns() + int(seconds * 1e9)


if __name__ == "__main__":
    main(*sys.argv[1:])
