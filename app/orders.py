"""What a client records before it sends an order, and takes back when it cannot send it."""

from __future__ import annotations

from app.bootstrap import Runtime
from app.entries import Entry, entry_of
from app.outcomes import announce
from app.schemas import RenderRequest


class Order:
    """One attempt to order a job; others may make theirs under the same id, before or meanwhile."""

    def __init__(self, runtime: Runtime, job_id: str, request: RenderRequest) -> None:
        self._runtime = runtime
        self._job_id = job_id
        self._request = request
        self._is_first = False
        self._entry: Entry | None = None

    def enter(self) -> None:
        """Record the request and put its job in line.

        Raises ``InvalidRequestError`` when the id belongs to a job with another request.
        """
        ledger = self._runtime.ledger
        self._is_first = ledger.submit(self._job_id, self._request)
        self._entry = self._runtime.entries.add(entry_of(self._job_id, self._request))
        if not self._is_first:
            # Whoever recorded it may have been refused meanwhile, and have taken the request back
            # before we stood in line.
            self._is_first = ledger.submit(self._job_id, self._request)
        announce(self._runtime, {"kind": "job", "job_id": self._job_id})

    def leave(self) -> None:
        """Take back what this attempt has recorded: its client was told that it is refused.

        A job that was there before stays as it is, and so does one that somebody else has ordered
        meanwhile.
        """
        entries, ledger = self._runtime.entries, self._runtime.ledger
        if self._entry is not None:
            entries.remove([self._entry.key])
        if not self._is_first or entries.find(self._job_id) is not None:
            return
        ledger.withdraw(self._job_id)
        if entries.find(self._job_id) is not None:  # it came between the two looks
            ledger.submit(self._job_id, self._request)
