"""Jobs as they lie in the store: request, plan, outcome; everything else follows from blobs."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from enum import StrEnum

from app.domain.errors import CorruptBlobError, InvalidRequestError, NotFoundError
from app.domain.plan import RenderPlan, canonical_json
from app.domain.work import (
    Progress,
    image_prefixes,
    pictures_in,
    plan_key,
    plan_prefix,
    progress,
    series_prefix,
)
from app.schemas import Manifest, RenderRequest, read_plan, read_request
from app.storage.port import BlobStore

log = logging.getLogger(__name__)

MOST_MENDED = 5
"""How often one unit of a job may find damaged or lost what it is made of. Each time all of it is
made anew, so that a disk that rots costs one or two; a store that keeps nothing ends the job."""
_JOB_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


class JobState(StrEnum):
    SUBMITTED = "submitted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class JobStatus:
    """Where a job stands."""

    job_id: str
    state: JobState
    plan_hash: str | None = None
    progress: Progress | None = None
    reason: str | None = None
    pictures_done: int = 0
    pictures: int | None = None
    """Pictures of the job, once it is planned."""


class JobLedger:
    """Reads and writes the records of jobs."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    def submit(self, job_id: str, request: RenderRequest) -> None:
        """Write the request; the job exists from here on.

        Raises ``InvalidRequestError`` when the id belongs to a job with another request.
        """
        record = canonical_json(request.model_dump(mode="json"))
        while not self._store.put(_key(job_id, "request.json"), record):
            try:
                known = self.request(job_id)
            except NotFoundError:  # taken back just now
                continue
            if known != request:
                raise InvalidRequestError(f"job id {job_id} belongs to another request")
            break
        # It was refused before, and is wanted again. Last: who takes a request back marks it first.
        self._store.delete(f"withdrawn/{job_id}")

    def withdraw(self, job_id: str) -> None:
        """Take back a request that could not be sent; its message may still be on its way.

        Or it arrived long ago: a job that has ended is left as it is.
        """
        if self.has_ended(job_id):
            return
        self._store.put(f"withdrawn/{job_id}", b"")
        self.forget(job_id)

    def forget(self, job_id: str) -> None:
        """Take back a request that nothing was rendered of, and whose message is gone."""
        for name in ("request.json", "plan.json"):
            self._store.delete(_key(job_id, name))

    def is_withdrawn(self, job_id: str) -> bool:
        return self._store.exists(f"withdrawn/{job_id}")

    def accept(self, job_id: str, request: RenderRequest, plan: RenderPlan) -> None:
        """Write request and plan."""
        request_key = _key(job_id, "request.json")  # refused before anything is written
        self._keep_plan(plan)
        self._store.put(request_key, canonical_json(request.model_dump(mode="json")))
        self.point(job_id, plan.hash)
        # Was there, and was removed before the job named it: see app.retention.
        self._store.put(plan_key(plan.hash), plan.to_json())

    def point(self, job_id: str, plan_hash: str) -> None:
        """Say which plan the job has."""
        self._store.put(_key(job_id, "plan.json"), canonical_json({"plan_hash": plan_hash}))

    def unplan(self, job_id: str) -> None:
        """Forget which plan the job has; it keeps its request and can be planned again."""
        self._store.delete(_key(job_id, "plan.json"))

    def request(self, job_id: str) -> RenderRequest:
        return read_request(self._read(job_id, "request.json"))

    def plan(self, job_id: str) -> RenderPlan:
        """The job's plan. Raises ``NotFoundError`` for an unknown job."""
        return read_plan(self._store.get(plan_key(self._plan_hash(job_id))))

    def has_request(self, job_id: str) -> bool:
        return self._store.exists(_key(job_id, "request.json"))

    def has_plan(self, job_id: str) -> bool:
        return self._store.exists(_key(job_id, "plan.json"))

    def has_lost_plan(self, job_id: str) -> bool:
        """Whether the job names a plan that is no longer in the store."""
        if not self.has_plan(job_id):
            return False
        return not self._store.exists(plan_key(self._plan_hash(job_id)))

    def finish(self, manifest: Manifest) -> Manifest:
        """Record the result; the manifest that was first is the one that counts."""
        data = manifest.model_dump_json(
            exclude={"images": {"__all__": {"url": True, "thumbnail": {"url": True}}}}
        )
        self._store.put(_key(manifest.job_id, "result.json"), data.encode())
        return self.result(manifest.job_id)

    def result(self, job_id: str) -> Manifest:
        """The manifest, its URLs valid from now."""
        stored = self._store.get(_key(job_id, "result.json"))
        manifest = Manifest.model_validate_json(stored)
        for image in manifest.images:
            image.locate(self._store.url)
        return manifest

    def discard_result(self, job_id: str) -> None:
        """Remove a result that is damaged: while it is there, the job counts as done."""
        self._store.delete(_key(job_id, "result.json"))

    def has_result(self, job_id: str) -> bool:
        return self._store.exists(_key(job_id, "result.json"))

    def fail(self, job_id: str, reason: str) -> None:
        """Record why the job failed; the first reason counts."""
        self._store.put(_key(job_id, "failure.json"), canonical_json({"reason": reason}))

    def failure(self, job_id: str) -> str | None:
        if not self._store.exists(key := _key(job_id, "failure.json")):
            return None
        try:
            return _text(key, json.loads(self._store.get(key)), "reason")
        except NotFoundError:  # reopened just now
            return None

    def cancel(self, job_id: str) -> None:
        """Ask the job to stop; workers look before every unit and between its steps and layers."""
        if not self.has_request(job_id):
            raise NotFoundError(f"job {job_id} is not known")
        self._store.put(_key(job_id, "cancelled.json"), b"{}")

    def is_cancelled(self, job_id: str) -> bool:
        return self._store.exists(_key(job_id, "cancelled.json"))

    def has_ended(self, job_id: str) -> bool:
        """Whether the job has a result, a failure or a cancellation."""
        ends = ("result.json", "failure.json", "cancelled.json")
        return any(self._store.exists(_key(job_id, name)) for name in ends)

    def reopen(self, job_id: str) -> None:
        """Forget an earlier failure or cancellation, so that the job can be resumed."""
        for name in ("failure.json", "cancelled.json"):
            self._store.delete(_key(job_id, name))
        for key in list(self._store.keys(_key(job_id, "mended/"))):
            self._store.delete(key)

    def may_mend(self, job_id: str, unit: str) -> bool:
        """Whether what *unit* is made of may be made once more, which is counted.

        In the store: none of its workers need meet the damage twice. What cannot be counted there
        may not be tried.
        """
        prefix = _key(job_id, f"mended/{unit}/")
        times = sum(1 for _ in self._store.keys(prefix))
        if times >= MOST_MENDED:
            return False
        self._store.put(f"{prefix}{times}", b"")
        return self._store.exists(f"{prefix}{times}")

    def job_ids(self) -> list[str]:
        """All jobs, those that were accepted first first."""
        since_s: dict[str, float] = {}
        for blob in self._store.stat("jobs/"):
            job_id = blob.key.split("/")[1]
            since_s[job_id] = min(blob.modified_s, since_s.get(job_id, blob.modified_s))
        return sorted(since_s, key=lambda job_id: (since_s[job_id], job_id))

    def status(self, job_id: str) -> JobStatus:
        """Where the job stands. Raises ``NotFoundError`` for an unknown job."""
        reason, plan, done, pictures = self.failure(job_id), None, None, 0
        if self.has_plan(job_id) and (plan := self.readable_plan(job_id)) is not None:
            keys = present_keys(self._store, plan)
            done, pictures = progress(plan, keys), len(pictures_in(plan, keys))
        elif not self.has_request(job_id):
            raise NotFoundError(f"job {job_id} is not known")
        state = JobState.RUNNING if done and done.done else JobState.SUBMITTED
        if self.has_result(job_id):  # nothing that came later takes a result back
            state, reason = JobState.SUCCEEDED, None
        elif reason is not None:
            state = JobState.FAILED
        elif self.is_cancelled(job_id):
            state = JobState.CANCELLED
        if plan is None:
            return JobStatus(job_id, state, reason=reason)
        return JobStatus(job_id, state, plan.hash, done, reason, pictures, plan.spec.count)

    def readable_plan(self, job_id: str) -> RenderPlan | None:
        """The plan that the job names; ``None`` where it is lost or damaged."""
        try:
            return self.plan(job_id)
        except (CorruptBlobError, NotFoundError):
            return None

    def _keep_plan(self, plan: RenderPlan) -> None:
        """Write the plan; one that is there and damaged would fail each order that equals it."""
        key = plan_key(plan.hash)
        if self._store.put(key, plan.to_json()):
            return
        try:
            self._store.get(key)
        except CorruptBlobError as err:
            log.warning("plan.damaged", extra={"plan_hash": plan.hash, "reason": str(err)})
            self._store.delete(key)
            self._store.put(key, plan.to_json())
        except NotFoundError:  # removed just now: written again below
            return

    def _plan_hash(self, job_id: str) -> str:
        return _text(_key(job_id, "plan.json"), self._read(job_id, "plan.json"), "plan_hash")

    def _read(self, job_id: str, name: str) -> object:
        """The record, as JSON. Raises ``ValueError`` when it is none."""
        key = _key(job_id, name)
        if not self._store.exists(key):
            raise NotFoundError(f"job {job_id} is not known")
        return json.loads(self._store.get(key))


def _text(key: str, record: object, name: str) -> str:
    """The text *name* of a *record*. Raises ``CorruptBlobError`` when it has none."""
    match record:
        case {**fields} if isinstance(value := fields.get(name), str):
            return value
    raise CorruptBlobError(f"record {key} has no {name}")


def present_keys(store: BlobStore, plan: RenderPlan, image: int | None = None) -> set[str]:
    """Keys of the plan's blobs that exist, or of one image's."""
    whole = (series_prefix(plan), plan_prefix(plan))
    prefixes = whole if image is None else image_prefixes(plan, image)
    return {key for prefix in prefixes for key in store.keys(prefix)}


def _key(job_id: str, name: str) -> str:
    if not _JOB_ID.fullmatch(job_id):
        raise InvalidRequestError(
            f"job id must be up to 100 characters of a-z, 0-9, '.', '_', '-', got {job_id[:60]!r}"
        )
    return f"jobs/{job_id}/{name}"
