"""Jobs that were accepted, and wait for a dispatcher."""

from __future__ import annotations

from app.bootstrap import runtime
from app.jobs import JobLedger
from app.planning import plan_request
from app.schemas import read_request


def accept(job_id: str, **fields: object) -> JobLedger:
    """A job as `submit` leaves it once it is planned."""
    app = runtime()
    request = read_request({"prompt": "a hill", "width": 256, "height": 192, **fields})
    app.ledger.accept(job_id, request, plan_request(request, app.catalogue, app.settings))
    return app.ledger
