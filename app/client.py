"""What a program that orders renders needs beside ``app.tasks.render``; no torch.

Usage::

    from app import client

    key = client.upload("sketch.png")
    job_id = client.submit({"prompt": "snow mountains", "init_image": key})
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from app import notices
from app.bootstrap import runtime
from app.cache import is_whole
from app.celery import celery
from app.domain.editing import tile_box
from app.domain.errors import (
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
)
from app.domain.geometry import Box
from app.domain.phases import LAYOUT_DECIDED
from app.domain.quality.gates import MAX_SEAM_Z
from app.domain.quality.mending import STANDS_OUT, Mend, mends
from app.domain.quality.planned import seams_of
from app.domain.spec import Priority
from app.entries import entry_of
from app.expectation import Expectation, expect
from app.jobs import JobState, JobStatus
from app.manifests import finished_pictures
from app.measuring import measure_stored
from app.outcomes import announce, reopen, settle
from app.pictures.reading import read_picture, read_size
from app.queues import translated_send_errors
from app.saving import save_pyramid, write_file
from app.schedules import Schedule, read_schedule
from app.scheduling.publishing import Publisher
from app.schemas import Manifest, PictureRecord, RenderRequest, read_request
from app.workflow import plan_of, start

_BYTES_PER_PIXEL = 8  # four channels of 16 bits: no sensible file is larger than its pixels


def upload(path: Path | str, *, field: str = "init_image") -> str:
    """Store the picture at *path* and return the key a request names it by.

    Raises ``InvalidRequestError`` when it is no picture, ``LimitExceededError`` when it is
    larger than this installation takes.
    """
    data = _read_input(Path(path), field)
    key = input_key(data)
    runtime().store.put(key, data)
    return key


def check_input(path: Path | str, *, field: str = "init_image") -> str:
    """The key that ``upload`` would return; nothing is stored."""
    return input_key(_read_input(Path(path), field))


def input_size(path: Path | str, *, field: str = "init_image") -> tuple[int, int]:
    """Height and width of the picture at *path*, upright; raises as ``upload`` does."""
    data = _read_input(Path(path), field)
    return read_size(data, field=field, max_mpx=runtime().settings.max_input_mpx)


def input_key(data: bytes) -> str:
    """Equal pictures share one blob."""
    return f"inputs/{hashlib.sha256(data).hexdigest()}"


def submit(request: RenderRequest | Mapping[str, object]) -> str:
    """Send a render and return its job id; ``app.tasks.render`` with one argument less."""
    from app.tasks import render

    payload = request if isinstance(request, RenderRequest) else dict(request)
    return str(render.delay(payload).id)


def estimate(request: RenderRequest | Mapping[str, object]) -> Expectation:
    """When the render would begin and finish if it were submitted now; nothing is sent."""
    payload = request if isinstance(request, RenderRequest) else dict(request)
    return expect(runtime(), read_request(payload))


def from_store(request: RenderRequest) -> Manifest | None:
    """The stored result of an identical request, as a job of its own; no worker is asked.

    ``None`` when it has to be rendered.
    """
    app, job_id = runtime(), str(uuid.uuid4())
    if not is_whole(app.store, plan_of(app, job_id, request)):
        return None
    app.ledger.submit(job_id, request)
    manifest = start(app, job_id, request)
    if manifest is None:  # somebody removes it just now
        app.ledger.unplan(job_id)
        app.ledger.withdraw(job_id)
    return manifest


def resume(job_id: str) -> bool:
    """Send the job on from the blobs that exist; False when it has its result already.

    Takes up paused jobs too, and plans a job again whose plan is no longer kept. Raises
    ``NotFoundError`` for an unknown job.
    """
    app = runtime()
    status = app.ledger.status(job_id)
    if status.state is JobState.SUCCEEDED:
        return False
    request = app.ledger.request(job_id)
    with translated_send_errors(app.settings):
        # The id is used again: its old outcome must not be taken for the new one. Before anything
        # is changed, for it fails where Redis is away, and the job then keeps its end.
        celery.AsyncResult(job_id).forget()
    if app.ledger.has_plan(job_id) and app.ledger.readable_plan(job_id) is None:
        app.ledger.unplan(job_id)  # before the dispatcher finds it damaged once more
    app.entries.unpause(job_id)
    reopen(app, entry_of(job_id, request))
    # From here on the dispatcher would do the rest by itself, a little later.
    if not app.ledger.has_plan(job_id):
        payload = request.model_dump(mode="json", exclude_unset=True)
        Publisher(app).send_plan(job_id, payload, Priority(request.priority))
    announce(app, {"kind": "job", "job_id": job_id})
    return True


def cancel(job_id: str) -> None:
    """Stop the job; ``resume`` takes it up again.

    Workers are told, and stop before their next step; where the broker does not take that, when
    they look at the store, every two seconds.
    Raises ``InvalidRequestError`` when it has ended, ``NotFoundError`` for an unknown job.
    """
    app, state = runtime(), _open_state(job_id, "cancelled")
    if state is not JobState.CANCELLED:
        app.ledger.cancel(job_id)
        notices.send(app.settings, job_id)
    with translated_send_errors(app.settings):
        settle(app, job_id)


def pause(job_id: str) -> None:
    """Send no more of the job's units; those that workers have are finished."""
    _open_state(job_id, "paused")
    app = runtime()
    app.entries.pause(job_id)
    announce(app, {"kind": "job", "job_id": job_id})


def prioritise(job_id: str, priority: Priority) -> None:
    """Move the job's unsent units to another class."""
    _open_state(job_id, "moved")
    app = runtime()
    app.entries.prioritise(job_id, priority, round(time.time() * 1000))
    announce(app, {"kind": "job", "job_id": job_id})


def schedule(job_id: str) -> Schedule | None:
    """Place in line, time left and deadline, as the dispatcher told last; ``None`` when it has
    not, or when the job is not open."""
    return read_schedule(runtime().board, job_id)


def _open_state(job_id: str, deed: str) -> JobState:
    state = runtime().ledger.status(job_id).state
    if state in (JobState.SUCCEEDED, JobState.FAILED):
        raise InvalidRequestError(f"job {job_id} cannot be {deed}, it has {state}")
    return state


def result(job_id: str) -> Manifest:
    """The manifest of a job that succeeded, its URLs valid from now.

    Raises ``NotFoundError`` when it has not: ``pictures`` has what there is.
    """
    status = runtime().ledger.status(job_id)
    if status.state is not JobState.SUCCEEDED:
        raise NotFoundError(unfinished(status))
    return runtime().ledger.result(job_id)


def unfinished(status: JobStatus) -> str:
    """What a job has that has no result, and how it stands."""
    done = f"{status.pictures_done} of {status.pictures} pictures" if status.pictures_done else ""
    reason = f": {status.reason}" if status.reason else ""
    return f"job {status.job_id} has {done or 'no picture'}, it is {status.state}{reason}"


def pictures(job_id: str) -> dict[int, PictureRecord]:
    """The job's finished pictures by their number, their URLs valid from now.

    Each as the manifest has it, also while the job is open and after it has failed or was
    cancelled. Raises ``NotFoundError`` for an unknown job.
    """
    app = runtime()
    if app.ledger.has_result(job_id):
        return dict(enumerate(app.ledger.result(job_id).images))
    if app.ledger.has_plan(job_id) and not app.ledger.has_lost_plan(job_id):
        return finished_pictures(app.store, app.ledger.plan(job_id))
    app.ledger.request(job_id)  # refuses an unknown job
    return {}


def rerender(
    job_id: str, part: Box | tuple[int, int], *, seed: int, image: int = 0, **changes: object
) -> str:
    """Send a job that paints a *part* of a finished picture anew, and return its id.

    *part* is a box in pixels, or row and column of a tile of the last phase. *changes* are fields
    of a request that differ from the finished one's: ``prompt``, ``strength``, ``format``.
    Raises ``NotFoundError`` when the job has no picture.
    """
    return submit(rerender_request(job_id, part, seed=seed, image=image, **changes))


def rerender_request(
    job_id: str, part: Box | tuple[int, int], *, seed: int, image: int = 0, **changes: object
) -> RenderRequest:
    """What ``rerender`` sends."""
    result(job_id)  # refuses a job without a picture
    ledger = runtime().ledger
    plan, request = ledger.plan(job_id), ledger.request(job_id)
    box = part if isinstance(part, Box) else tile_box(plan, *part)
    again = {"job_id": job_id, "plan_hash": plan.hash, "image": image, "box": asdict(box)}
    fields = request.model_dump(mode="json") | {
        "mode": str(plan.spec.mode),
        "model": request.model or plan.spec.refine_model,
        "tile": plan.spec.tile,  # defaults may be others than when it was ordered
        "overlap": plan.spec.overlap,
        "seed": seed,
        "count": 1,
        "rerender": again,
    }
    # How far the picture once left what it started from says nothing about this part.
    fields |= dict.fromkeys(("init_image", "init_fit", "mask", "strength", "nsr")) | {"cache": True}
    return read_request(fields | changes)


def seam_repairs(job_id: str, image: int = 0) -> tuple[Mend, ...]:
    """The parts of a finished picture whose seams are above the gate, the worst first.

    Raises ``NotFoundError`` when the job has no such picture, ``InvalidRequestError`` when no piece
    of its seams stands out.
    """
    count, app = len(result(job_id).images), runtime()
    if not 0 <= image < count:
        raise NotFoundError(f"job {job_id} has pictures 0 to {count - 1}, got {image}")
    plan = app.ledger.plan(job_id)
    quality = measure_stored(app.store, plan, image)
    if found := mends(plan, quality.seams):
        return found
    score = quality.figures.get("seam_z")
    told = "it has no seams" if score is None else f"got a seam_z of {score:.2f}"
    raise InvalidRequestError(
        f"picture {image} of job {job_id} must have a seam_z above {MAX_SEAM_Z:g}, and a piece of "
        f"a seam between tiles that stands out by {STANDS_OUT:g}, to be repaired: {told}"
    )


def seam_score(job_id: str, image: int, lines_of: str) -> float:
    """The worst seam of a picture where the tiles of another job met; 1 where nothing shows."""
    app = runtime()
    grid = seams_of(app.ledger.plan(lines_of))
    found = measure_stored(app.store, app.ledger.plan(job_id), image, grid)
    return found.figures.get("seam_z", 1.0)


def repair_request(job_id: str, mend: Mend, *, image: int = 0) -> RenderRequest:
    """Order to paint a part anew with tiles that do not meet there; from its own latents at the
    noise, and of the seed, of the picture's own tiles, but at no noise that would change what is
    seen."""
    spec = runtime().ledger.plan(job_id).spec
    changes = {"nsr": min(spec.nsr, LAYOUT_DECIDED), "overlap": mend.overlap, "blend": "ramp"}
    return rerender_request(job_id, mend.box, seed=spec.seed, image=image, **changes)


def save(manifest: Manifest, output: Path) -> list[Path]:
    """Write the pictures of *manifest*: to *output*, or numbered beside it when several.

    The pyramid of ``out.png`` becomes ``out.dzi`` and ``out_files/`` beside it. Returns the paths
    of the pictures, then those of the pyramids' descriptions.
    """
    return save_pictures(dict(enumerate(manifest.images)), output, len(manifest.images))


def save_pictures(found: Mapping[int, PictureRecord], output: Path, count: int) -> list[Path]:
    """Write the *found* ones of a job's *count* pictures, called as ``save`` would call them."""
    store, paths, pyramids = runtime().store, picture_paths(output, count), []
    for number, picture in found.items():
        write_file(paths[number], store.stream(picture.key), size_bytes=picture.size_bytes)
        if picture.pyramid:
            target = paths[number].with_suffix(".dzi")
            pyramids.append(save_pyramid(store, picture.pyramid, target))
    return [*(paths[number] for number in found), *pyramids]


def picture_paths(output: Path, count: int) -> list[Path]:
    """``out.png``, or ``out-0.png``, ``out-1.png`` … as the manifest counts them."""
    if count == 1:
        return [output]
    digits = len(str(count - 1))
    names = [f"{output.stem}-{index:0{digits}}{output.suffix}" for index in range(count)]
    return [output.with_name(name) for name in names]


def _read_input(path: Path, field: str) -> bytes:
    limit_bytes = int(runtime().settings.max_input_mpx * 1e6) * _BYTES_PER_PIXEL
    try:
        size_bytes = path.stat().st_size
        if not path.is_file():
            raise InvalidRequestError(f"{field} must be a picture file, {path} is none")
        if size_bytes > limit_bytes:
            raise LimitExceededError(
                f"{field} must have at most {limit_bytes} bytes, {path} has {size_bytes}"
            )
        data = path.read_bytes()
    except (OSError, ValueError) as err:  # ValueError: a path with a null character
        reason = getattr(err, "strerror", None) or err
        raise InvalidRequestError(f"{field} {str(path)!r} cannot be read: {reason}") from err
    read_picture(data, field=field, max_mpx=runtime().settings.max_input_mpx)
    return data
