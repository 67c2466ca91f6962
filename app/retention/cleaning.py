"""Removing what may go, while jobs come and go, and perhaps somebody else removes it too.

Everything may be interrupted and done again. What a new order begins to share in the same moment
is left as soon as the order is seen; what it has lost by then is rendered again.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

from app.bootstrap import Runtime
from app.domain.retention import Removal, RetentionRules, Survey, What, removals
from app.domain.spec import PictureFormat
from app.retention.marks import Marks
from app.retention.survey import Note, Surveyor, is_result
from app.settings import Settings
from app.telemetry import metrics

log = logging.getLogger(__name__)
_TOGETHER = 32
"""Removals between two looks at all jobs, which is a listing of their records."""
_LOOK_S = 0.2
"""Seconds between two looks at the line, while blobs are removed."""
_PICTURE = re.compile(rf"image-\d+/picture\.(?:{'|'.join(get_args(PictureFormat))})")
# The blobs that say that a stage is done: whoever misses another one then finds its stage undone.
_PROOF = re.compile(r"image-\d+/(base|prepared|head|canvas-\d+\.json)")


@dataclass(slots=True)
class Cleaned:
    """What became of removals."""

    removed: int = 0
    size_bytes: int = 0
    left: int = 0
    """Those that a job has begun to use meanwhile."""


class Cleaner:
    """Decides and removes. *look_s*: seconds between two looks at who came meanwhile."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        is_stopping: Callable[[], bool] = lambda: False,
        look_s: float = _LOOK_S,
    ) -> None:
        self._runtime = runtime
        self._store = runtime.store
        self._surveyor = Surveyor(runtime)
        self._is_stopping = is_stopping
        self._look_s = look_s
        self._marks = Marks(runtime.store)
        self._known: dict[str, frozenset[str]] = {}
        self._used: set[str] = set()
        self._is_blind = False
        self._looked_s = float("-inf")

    def choose(self, rules: RetentionRules, note: Note = lambda *_: None) -> list[Removal]:
        """What may go now, in the order in which it should."""
        survey = self._surveyor.look(note)
        self._known, self._is_blind = _used_by_job(survey), False
        self._used.clear()  # some of it by jobs that have ended since
        return removals(survey, rules, time.time())

    def remove(self, chosen: Sequence[Removal], note: Note = lambda *_: None) -> Cleaned:
        """Remove what was *chosen*, unless a job has begun to use it."""
        done = Cleaned()
        for start in range(0, len(chosen), _TOGETHER):
            together = chosen[start : start + _TOGETHER]
            try:
                self._marks.put(each.name for each in together if each.what is What.FOLDER)
                self._look_at_all()
                for number, removal in enumerate(together, start=start + 1):
                    if self._is_stopping():
                        return done
                    self._count(removal, self._carry_out(removal), done)
                    self._marks.drop(removal.name)
                    note(number, len(chosen))
            finally:
                self._marks.drop_all()
        return done

    def _count(self, removal: Removal, is_gone: bool, done: Cleaned) -> None:
        done.removed += is_gone
        done.left += not is_gone
        if is_gone:
            done.size_bytes += removal.size_bytes
            metrics.cleaned(removal.size_bytes)
        fields = {"what": str(removal.what), "removed": removal.name, "bytes": removal.size_bytes}
        log.info("store.removed" if is_gone else "store.left", extra=fields)

    def _carry_out(self, removal: Removal) -> bool:
        """False when it is in use; a job that has lost its plan to this gets it back."""
        if self._is_named(removal):
            return False
        for job_id in removal.jobs:
            self._runtime.ledger.unplan(job_id)
        for key in self._keys(removal):
            if self._is_used(removal):
                for job_id in removal.jobs:
                    self._runtime.ledger.point(job_id, removal.name)
                return False
            self._store.delete(key)
        return True

    def _keys(self, removal: Removal) -> list[str]:
        """Its blobs, in the order in which they go."""
        name = removal.name
        match removal.what:
            case What.JOB:
                keys = [key for root in ("dead", "jobs") for key in self._listed(root, name)]
                return sorted(keys, key=lambda key: key.endswith("/request.json"))
            case What.INPUT | What.MARK:
                return [name]
        keys = [key for root in ("runs", "attempts") for key in self._listed(root, name)]
        blobs = self._listed("plans", name)
        if removal.what is What.INTERMEDIATES:
            blobs = [key for key in blobs if not is_result(_inside(key))]
        return sorted([*blobs, *keys], key=_rank)

    def _listed(self, root: str, name: str) -> list[str]:
        return list(self._store.keys(f"{root}/{name}/"))

    def _is_used(self, removal: Removal) -> bool:
        if time.monotonic() - self._looked_s >= self._look_s:
            self._look_at_line()
            self._marks.renew()
        return self._is_named(removal)

    def _is_named(self, removal: Removal) -> bool:
        is_used = removal.name in self._used or not self._used.isdisjoint(removal.jobs)
        return is_used or self._is_blind

    def _look_at_line(self) -> None:
        """Find what open jobs use: as they were surveyed, and as they are now."""
        self._see(self._surveyor.in_line())

    def _look_at_all(self) -> None:
        """Find also what jobs use that came after the survey, and may have ended already."""
        self._see(self._surveyor.in_line() | (self._surveyor.job_ids() - self._known.keys()))

    def _see(self, jobs: set[str]) -> None:
        for job_id in jobs:
            now = self._surveyor.used_by(job_id)
            self._used |= {job_id} | now.names | self._known.get(job_id, frozenset())
            # It came after the survey, and may use anything: the next one knows what is in doubt.
            self._is_blind |= not now.is_complete and job_id not in self._known
        self._looked_s = time.monotonic()


def rules_of(chosen: Settings) -> RetentionRules:
    """The rules that an operator has set."""
    return RetentionRules(
        intermediates_ttl_s=chosen.intermediates_ttl_s,
        results_ttl_s=chosen.results_ttl_s,
        max_store_bytes=round(chosen.store_limit_gb * 1e9),
    )


def _used_by_job(survey: Survey) -> dict[str, frozenset[str]]:
    return {job.job_id: job.folders | job.reads | job.inputs for job in survey.jobs}


def _rank(key: str) -> int:
    """Pictures first, before what belongs to them: nobody takes a result for whole. The plan last:
    the rest can be resumed."""
    name = _inside(key)
    if name == "plan.json":
        return 4
    if _PICTURE.fullmatch(name):
        return 0
    if is_result(name):
        return 1
    return 2 if _PROOF.fullmatch(name) else 3


def _inside(key: str) -> str:
    return key.split("/", maxsplit=2)[2]
