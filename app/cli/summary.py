"""A plan before it is rendered: what it will do, on what, at which cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.bootstrap import runtime
from app.cli.output import spoken_bytes, spoken_s
from app.cli.regions import with_masks
from app.cli.sizes import stretch_of, stretch_told
from app.domain.errors import RenderError
from app.domain.plan import RenderPlan
from app.domain.prediction import Predictor
from app.domain.spec import Mode
from app.domain.work import Stage
from app.planning import choose_mode, plan_request
from app.scheduling.duration import card_s, learned_s
from app.scheduling.forecast import read_predictor
from app.schemas import RenderRequest, read_request
from app.traffic import Moved, total, traffic

_MODES = {
    Mode.DIRECT: "one window",
    Mode.REFINE: "a base picture decides the layout, tiles add detail",
    Mode.PHASED: "from noise, exchanging where the layout is decided",
    Mode.MULTIDIFFUSION: "from noise, exchanging at every step",
    Mode.SPOT: "from noise, moving windows that do not overlap",
}


def preview(fields: dict[str, Any], files: Mapping[str, Path]) -> tuple[RenderRequest, RenderPlan]:
    """The request with its *files* and masks, and its plan; nothing is stored."""
    paths: dict[str, Path] = {}

    def key_of(path: Path, *, field: str) -> str:
        from app.client import check_input

        key = check_input(path, field=field)
        paths[key] = path
        return key

    fields = with_masks(fields, key_of)
    fields |= {field: key_of(path, field=field) for field, path in files.items()}
    app = runtime()

    def read(key: str) -> bytes:
        return paths[key].read_bytes() if key in paths else app.store.get(key)

    request = read_request(fields)
    return request, plan_request(request, app.catalogue, app.settings, read)


@dataclass(frozen=True, slots=True)
class Estimates:
    """What a plan will move and take, as far as this installation can tell."""

    moved: dict[Stage, Moved]
    seconds: dict[str, float]
    """Of one worker's work, by device, as learned."""
    card_s: float | None
    """Of the tiles alone, by the costs in the model's card."""
    why: str
    """Why the mode was chosen."""
    stretch: float
    """How much wider the picture to start from becomes than it is high; 1 keeps its aspect."""


def estimate(request: RenderRequest, plan: RenderPlan, init: Path | None = None) -> Estimates:
    """Of *plan* from the picture *init* here; a store that is silent has learned nothing."""
    app = runtime()
    card = app.catalogue.card(plan.spec.refine_model)
    try:
        predictor = read_predictor(app.store)
    except RenderError:
        predictor = Predictor()
    seconds = learned_s(plan, predictor)
    stretch = 1.0
    if init is not None and plan.spec.init_fit is None:
        stretch = stretch_of(init, plan.spec.width, plan.spec.height)
    why = choose_mode(request, card)[1]
    return Estimates(traffic(plan, card), seconds, card_s(plan, card), why, stretch)


def plan_summary(plan: RenderPlan, estimates: Estimates) -> dict[str, object]:
    """What a script wants to know of *plan*; equal plans give equal summaries."""
    scale = plan.latent_scale
    base = plan.base
    return {
        "plan_hash": plan.hash,
        "models": plan.revisions,
        "spec": asdict(plan.spec),
        "mode_reason": estimates.why,
        "canvas": {"height": plan.canvas_height * scale, "width": plan.canvas_width * scale},
        "base": base
        and {
            "height": base.height * scale,
            "width": base.width * scale,
            "steps": len(base.steps),
        },
        "phases": [
            {
                "tiles": len(phase.indices),
                "tile_height": phase.tiles[0].height * scale,
                "tile_width": phase.tiles[0].width * scale,
                "steps": len(phase.steps),
                "nsr": phase.steps.sigmas[0],
            }
            for phase in plan.phases
        ],
        "cores": len(plan.decode.indices),
        "cost": asdict(plan.cost),
        "moved_bytes": {stage: asdict(moved) for stage, moved in estimates.moved.items()},
        "seconds": {device: round(known, 3) for device, known in estimates.seconds.items()},
        "init_stretch": round(estimates.stretch, 4),
        "card_seconds": estimates.card_s and round(estimates.card_s, 3),
    }


def plan_lines(plan: RenderPlan, estimates: Estimates) -> list[tuple[str, object]]:
    """The same for a person."""
    spec, cost, scale = plan.spec, plan.cost, plan.latent_scale
    bits = ", 16 bits" if spec.bits == 16 else ""
    models = ", ".join(f"{name} {revision[:12]}" for name, revision in plan.revisions.items())
    lines: list[tuple[str, object]] = [
        ("picture", f"{spec.count} × {spec.width}x{spec.height} px {spec.format}{bits}"),
        ("canvas", f"{plan.canvas_width * scale}x{plan.canvas_height * scale} px"),
        ("mode", f"{spec.mode}: {_MODES[spec.mode]}; {estimates.why}"),
        ("sampler", f"{spec.sampler}, guidance {spec.guidance:g}, seed {spec.seed}"),
        ("model", models),
    ]
    if plan.spec.init_fit or estimates.stretch != 1:
        how = "cropped to its middle" if plan.spec.init_fit else stretch_told(estimates.stretch)
        lines.append(("init", how))
    if plan.base:
        size = f"{plan.base.width * scale}x{plan.base.height * scale} px"
        lines.append(("base", f"{size}, {len(plan.base.steps)} steps"))
    lines += [("phases", len(plan.phases)), ("tiles", _tile_line(plan))]
    restored = f"restored by {spec.restore}, " if spec.restore else ""
    return [
        *lines,
        ("decode", f"{len(plan.decode.indices)} cores, {restored}upscale {spec.upscale}"),
        ("overlap", f"{cost.overlap_overhead:g} times the canvas is denoised"),
        ("compute", f"{cost.unet_evaluations} UNet evaluations, {cost.denoised_mpx:g} megapixels"),
        ("time", _time_line(estimates)),
        ("moves", _moves_line(total(estimates.moved.values()))),
        ("store", f"{spoken_bytes(cost.blob_bytes)} before compression"),
        ("hash", plan.hash),
    ]


def _time_line(estimates: Estimates) -> str:
    """Of one worker, because how many there will be is not known."""
    if estimates.seconds:
        known = [f"{spoken_s(seconds)} on {where}" for where, seconds in estimates.seconds.items()]
        return f"about {', '.join(known)}: work of one worker, as learned"
    if estimates.card_s is not None:
        return f"about {spoken_s(estimates.card_s)} of tiles for one worker, by the model's card"
    return "not known: nothing like it was rendered with this store"


def _moves_line(moved: Moved) -> str:
    written, read, shared = map(spoken_bytes, (moved.written, moved.read, moved.shared))
    return f"{written} written, {read} read, {shared} more by every worker, before compression"


def _tile_line(plan: RenderPlan) -> str:
    """How many tiles of which size; modes that exchange often have the same grid many times."""
    sizes = Counter(
        (len(phase.indices), phase.tiles[0].width, phase.tiles[0].height) for phase in plan.phases
    )
    return ", ".join(
        f"{times} × {tiles} of {width * plan.latent_scale}x{height * plan.latent_scale} px"
        for (tiles, width, height), times in sizes.items()
    )
