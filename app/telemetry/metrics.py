"""The numbers a worker reports; every metric of one is defined here.

A worker is one process on its own port, so Prometheus' ``instance`` label tells workers apart;
``tilechord_worker_info`` gives the instance its Celery name.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from app.domain.errors import PermanentError, TransientError

# From a tile on a fast GPU to a large one on a laptop's CPU, three buckets a decade.
_UNIT_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)

# From a tile that a free worker takes at once to a job that waited for a day.
_QUEUE_SECONDS = (0.01, 0.1, 1, 10, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)

# From a barrier among idle workers to one behind other jobs' tiles.
_ROUND_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)

_UNIT = ("stage", "model", "device")
_FAILURE = ("stage", "reason")

UNITS_DONE = Counter("tilechord_units_done", "Units of work rendered and stored", _UNIT)
UNIT_SECONDS = Histogram(
    "tilechord_unit_duration_seconds",
    "Seconds from a unit's start, its models loaded, to its blob in the store",
    _UNIT,
    buckets=_UNIT_SECONDS,
)
UNITS_PRESENT = Counter(
    "tilechord_units_present", "Units found in the store and not rendered again", ("stage",)
)
QUEUE_SECONDS = Histogram(
    "tilechord_time_in_queue_seconds",
    "Seconds from sending a message to the start of its work",
    ("queue", "priority"),
    buckets=_QUEUE_SECONDS,
)
FAILURES = Counter("tilechord_failures", "Work that failed for good", _FAILURE)
RETRIES = Counter("tilechord_retries", "Attempts that failed and are repeated", _FAILURE)
BLOB_WRITTEN_BYTES = Counter("tilechord_blob_written_bytes", "Bytes of blobs written")
BLOB_READ_BYTES = Counter("tilechord_blob_read_bytes", "Bytes of blobs read")
MODEL_LOAD_FAILURES = Counter(
    "tilechord_model_load_failures", "Models this worker refused or could not load", ("model",)
)
JOBS_FINISHED = Counter(
    "tilechord_jobs_finished", "Jobs with all pictures, rendered or found in the store", ("source",)
)
ROUND_SECONDS = Histogram(
    "tilechord_round_latency_seconds",
    "Seconds from the end of a phase's last tile to the start of the first unit after it",
    buckets=_ROUND_SECONDS,
)
CLEANED_BYTES = Counter("tilechord_cleaned_bytes", "Bytes removed by retention")
WORKER_INFO = Gauge("tilechord_worker_info", "Always 1; names the worker", ("worker", "version"))


def unit_done(stage: str, model: str, device: str, seconds: float) -> None:
    """Count a unit that was rendered and stored in *seconds*."""
    UNITS_DONE.labels(stage, model, device).inc()
    UNIT_SECONDS.labels(stage, model, device).observe(seconds)


def unit_present(stage: str) -> None:
    """Count a unit whose blob was there already: a cache hit, or a message delivered twice."""
    UNITS_PRESENT.labels(stage).inc()


def waited_in_queue(queue: str, priority: str, seconds: float) -> None:
    """Observe a wait; clocks of two machines may disagree, but no message comes from later."""
    QUEUE_SECONDS.labels(queue, priority).observe(max(seconds, 0.0))


def work_failed(stage: str, error: BaseException) -> None:
    """Count work that will not be tried again."""
    FAILURES.labels(stage, reason_of(error)).inc()


def work_retried(stage: str, error: BaseException) -> None:
    """Count an attempt that another one follows."""
    RETRIES.labels(stage, reason_of(error)).inc()


def job_finished(*, is_cached: bool) -> None:
    """Count a job with its pictures; again when its last message is delivered again."""
    JOBS_FINISHED.labels("store" if is_cached else "rendered").inc()


def rounds_waited(latencies: Iterable[float]) -> None:
    """Observe what a finished job waited between phases, in seconds."""
    for seconds in latencies:
        ROUND_SECONDS.observe(seconds)


def cleaned(size_bytes: int) -> None:
    """Count what retention has removed."""
    CLEANED_BYTES.inc(size_bytes)


def model_load_failed(model: str) -> None:
    MODEL_LOAD_FAILURES.labels(model).inc()


def stage_of(task_name: str) -> str:
    """``merge`` of ``app.tasks.merge``: of control workers' steps, what their task is called."""
    return task_name.rpartition(".")[2]


def reason_of(error: BaseException) -> str:
    """Class of *error* in our tree, ``InternalError`` outside it.

    Never the message: every new text would be another time series.
    """
    is_ours = isinstance(error, PermanentError | TransientError)
    return type(error).__name__ if is_ours else "InternalError"
