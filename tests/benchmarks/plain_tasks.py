"""Celery as it comes: four tasks prefetched, acknowledged before they are run."""

from __future__ import annotations

import os
import time

from celery import Celery

app = Celery("plain", broker=os.environ["TILECHORD_BROKER_URL"])
app.conf.result_backend = os.environ["TILECHORD_RESULT_BACKEND"]
app.conf.task_default_queue = os.environ["PLAIN_QUEUE"]
_SPEED = float(os.environ["PACE"])


@app.task(name="plain.tile")
def tile(seconds: float) -> tuple[float, float]:
    """When it began and ended, in seconds of the epoch."""
    began_s = time.time()
    time.sleep(seconds / _SPEED)
    return began_s, time.time()
