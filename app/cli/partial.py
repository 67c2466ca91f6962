"""``fetch --partial``: the pictures there are of a job, whether or not it has its result."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from app import client
from app.bootstrap import runtime
from app.cli.options import check_format
from app.cli.output import note, say, say_json
from app.domain.errors import NotFoundError


def deliver_finished(job_id: str, output: Path | None, *, start: float, as_json: bool) -> None:
    """Write the finished pictures and tell which are missing.

    *start* is the clock when the order was given. Raises ``NotFoundError`` when there is none.
    """
    status, found = runtime().ledger.status(job_id), client.pictures(job_id)
    status = replace(status, pictures_done=len(found))
    if not found or status.pictures is None:
        raise NotFoundError(client.unfinished(status))
    suffix = next(iter(found.values())).format
    check_format(output, suffix)
    paths = client.save_pictures(found, output or Path(f"{job_id}.{suffix}"), status.pictures)
    missing = [number for number in range(status.pictures) if number not in found]
    if as_json:
        say_json(
            {
                "job_id": job_id,
                "state": str(status.state),
                "reason": status.reason,
                "count": status.pictures,
                "images": [
                    {"image": number} | picture.model_dump(mode="json")
                    for number, picture in found.items()
                ],
                "missing": missing,
                "files": [str(path) for path in paths],
                "seconds": round(time.monotonic() - start, 3),
            }
        )
        return
    for path in paths:
        say(str(path))
    if missing:
        note(f"{client.unfinished(status)}; missing: {spoken_numbers(missing)}")


def spoken_numbers(numbers: Sequence[int]) -> str:
    """``3, 17 to 20``; *numbers* ascend."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)
