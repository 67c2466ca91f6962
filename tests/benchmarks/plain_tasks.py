"""Celery as it comes: four tasks prefetched, acknowledged before they are run."""

from __future__ import annotations

import json
import os
import time

from celery import Celery

app = Celery("plain", broker=os.environ["TILECHORD_BROKER_URL"])
app.conf.result_backend = os.environ["TILECHORD_RESULT_BACKEND"]
app.conf.task_default_queue = os.environ["PLAIN_QUEUE"]
_NUMBER, _SPEED, _REPEATS = json.loads(os.environ["PLAIN_WORKER"])


@app.task(name="plain.tile")
def tile(repeat: int, index: int) -> tuple[int, int, float, float]:
    """Who ran which tile, and when it began and ended, in seconds of the epoch."""
    began_s = time.time()
    time.sleep(_REPEATS[repeat][index] / _SPEED)
    return _NUMBER, index, began_s, time.time()
