"""What a client records before it sends an order, and takes back when it cannot send it."""

from __future__ import annotations

from app.bootstrap import Runtime
from app.entries import entry_of
from app.outcomes import announce
from app.schemas import RenderRequest


class Order:
    """One attempt to order a job; others may make theirs under the same id, before or meanwhile."""

    def __init__(self, runtime: Runtime, job_id: str, request: RenderRequest) -> None:
        self._runtime = runtime
        self._job_id = job_id
        self._request = request
        self._entry = entry_of(job_id, request)
        self._is_recorded = False
        self._was_planned = False

    def enter(self) -> None:
        """Record the request and put its job in line.

        Raises ``InvalidRequestError`` when the id belongs to a job with another request.
        """
        ledger = self._runtime.ledger
        # Planned and not in line: it was interrupted, and can be resumed.
        self._was_planned = ledger.has_plan(self._job_id)
        ledger.submit(self._job_id, self._request)
        self._is_recorded = True
        self._runtime.entries.add(self._entry)
        if not ledger.has_request(self._job_id):
            # An equal order was refused, and took the request back before we stood in line.
            ledger.submit(self._job_id, self._request)
        announce(self._runtime, {"kind": "job", "job_id": self._job_id})

    def leave(self) -> None:
        """Take back what this attempt has recorded: its client was told that it is refused.

        An open job stands in line for whoever has ordered it, and stays as it is then, like one
        that had a plan before or has ended. Of several that are refused at once the last takes the
        request back.
        """
        if not self._is_recorded:
            return
        entries, ledger = self._runtime.entries, self._runtime.ledger
        entries.take_back(self._entry)
        if self._was_planned or entries.find(self._job_id) is not None:
            return
        ledger.withdraw(self._job_id)
        if entries.find(self._job_id) is not None:  # it came between the two looks
            ledger.submit(self._job_id, self._request)
