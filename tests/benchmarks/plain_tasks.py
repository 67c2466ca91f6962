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
def tile(seconds: float) -> None:
    time.sleep(seconds / _SPEED)
