"""``--repair-seams``: seams above the gate are painted anew, one job after the other."""

from __future__ import annotations

from collections.abc import Callable

from app import client
from app.cli.output import note
from app.domain.errors import InvalidRequestError
from app.domain.quality.mending import Mend
from app.schemas import Manifest, RenderRequest

Finish = Callable[[RenderRequest], Manifest]
"""Sends a job and follows it to its end."""


def repair(manifest: Manifest, finish: Finish) -> Manifest:
    """The picture of *manifest* with its seams repaired; as it is when none needs it."""
    try:
        found = client.seam_repairs(manifest.job_id)
    except InvalidRequestError as err:
        note(f"nothing is repaired: {err}")
        return manifest
    return paint(manifest.job_id, 0, found, finish)


def paint(job_id: str, image: int, found: tuple[Mend, ...], finish: Finish) -> Manifest:
    """Paint every part anew: each job starts from the picture of the one before it."""
    first, before = job_id, client.seam_score(job_id, image, job_id)
    for number, mend in enumerate(found):
        box = mend.box
        note(
            f"repairing seam {number + 1} of {len(found)}, "
            f"{box.width}x{box.height} px at {box.left},{box.top}"
        )
        manifest = finish(client.repair_request(job_id, mend, image=image))
        job_id, image = manifest.job_id, 0
    after = client.seam_score(job_id, image, first)  # where the old seams were, not its own
    note(f"seam_z was {before:.2f} and is {after:.2f}")
    return manifest
