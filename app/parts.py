"""What units leave beside the blob that proves them done: later units read it."""

from __future__ import annotations

from collections.abc import Iterator

from app.canvas import band_boxes, band_key, features_number
from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work, ground_key, image_key
from app.editing import free_number, opacity_key


def prompt_key(plan: RenderPlan, image: int, number: int) -> str:
    """The encoded prompts of the picture, or of region *number* - 1."""
    return image_key(plan, image, f"prompt-{number:03d}")


def colours_key(plan: RenderPlan, image: int) -> str:
    """The picture that tiles start from, at the model's own size."""
    return image_key(plan, image, "colours")


def statistics_key(plan: RenderPlan, image: int) -> str:
    """What a head has seen of the whole canvas."""
    return image_key(plan, image, "statistics")


def parts_of(plan: RenderPlan, work: Work) -> Iterator[str]:
    """Keys of the blobs that *work* writes before its own; none for tiles, cores and bases."""
    match work.stage:
        case Stage.PREPARE:
            yield from _prepared(plan, work.image)
        case Stage.MERGE:
            yield from _bands(plan, work.image, work.phase + 1)
        case Stage.HEAD:
            yield statistics_key(plan, work.image)
            if plan.decode.head:
                yield from _bands(plan, work.image, features_number(plan))


def sources_of(plan: RenderPlan, work: Work) -> Iterator[Work]:
    """The units of whose parts *work* reads some."""
    image, is_core = work.image, work.stage is Stage.CORE
    is_coloured = is_core and plan.decode.anchors_colours
    is_held = plan.is_edit and work.stage in (Stage.MERGE, Stage.CORE, Stage.PICTURE)
    if work.stage is Stage.TILE or is_coloured or is_held:
        yield Work(Stage.PREPARE, image)
    if work.stage is Stage.TILE and work.phase > 0:
        yield Work(Stage.MERGE, image, work.phase - 1)
    if work.stage in (Stage.HEAD, Stage.CORE):
        yield Work(Stage.MERGE, image, len(plan.phases) - 1)
    if is_core and plan.decode.freezes_statistics:
        yield Work(Stage.HEAD, image)


def _prepared(plan: RenderPlan, image: int) -> Iterator[str]:
    for number in range(1 + len(plan.spec.regions)):
        yield prompt_key(plan, image, number)
    if plan.starts_from_picture:
        yield from _bands(plan, image, 0)
    if plan.decode.anchors_colours:
        yield colours_key(plan, image)
    if plan.is_edit:
        yield from _bands(plan, image, free_number(plan))
        yield from (ground_key(plan, image, core) for core in range(len(plan.decode.cores)))
        yield from (opacity_key(plan, image, core) for core in plan.decode.indices)


def _bands(plan: RenderPlan, image: int, phase: int) -> Iterator[str]:
    return (band_key(plan, image, phase, band) for band in range(len(band_boxes(plan))))
