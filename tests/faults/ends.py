"""How jobs end."""

from __future__ import annotations

from app.jobs import JobLedger


def end_of(ledger: JobLedger, job_id: str) -> str:
    """How the job ended; empty while it has not."""
    if ledger.has_result(job_id):
        return "succeeded"
    if ledger.failure(job_id) is not None:
        return "failed"
    return "cancelled" if ledger.is_cancelled(job_id) else ""
