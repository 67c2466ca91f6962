"""How long a plan's units will take, by what was learned here or by the model's card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from app.domain.card import ModelCard
from app.domain.eta import Times, eta_s
from app.domain.plan import RenderPlan
from app.domain.prediction import Predictor, Shape
from app.domain.work import WORKER_STAGES, Work, image_work
from app.scheduling.shapes import shape_of, step_shape


def learned_s(plan: RenderPlan, predictor: Predictor) -> dict[str, float]:
    """Seconds that one worker takes for *plan*, by device.

    Devices are left out on which a stage of *plan* was never seen with its model.
    """
    units = _units(plan)
    seen = {(shape.model, shape.stage, shape.device) for shape in predictor.shapes}
    return {
        device: plan.spec.count * _sum_s(units, predictor, device)
        for device in sorted({shape.device for shape in predictor.shapes})
        if all((shape.model, shape.stage, device) in seen for shape in units)
    }


def finish_s(
    plan: RenderPlan, predictor: Predictor, crew: Mapping[str, int], *, ahead_s: float
) -> float | None:
    """Seconds until *crew*, workers counted by device, has done *plan* after *ahead_s* of work.

    ``None`` without any worker, and where a device has never done some stage of *plan*.
    """
    if not crew or not crew.keys() <= learned_s(plan, predictor).keys():
        return None
    pending = [(shape, count * plan.spec.count) for shape, count in _units(plan).items()]
    groups = image_work(plan, 0)
    # Of one picture: while others are merged, workers go on with it.
    steps = [group[0] for group in groups if group and group[0].stage not in WORKER_STAGES]
    waits_s = sum(step_s(plan, work, predictor) for work in steps)
    devices = [device for device, count in crew.items() for _ in range(count)]

    def times(shape: Shape) -> Times:
        return np.array([predictor.predict(replace(shape, device=device)) for device in devices])

    return eta_s(pending, [0.0] * len(devices), times, ahead_s=ahead_s) + waits_s


def step_s(plan: RenderPlan, work: Work, predictor: Predictor) -> float:
    """Seconds that the workers wait for a control worker's step; 0 while none was ever seen."""
    return predictor.predict(step_shape(plan, work), guess_s=0.0).mean_s


def card_s(plan: RenderPlan, card: ModelCard) -> float | None:
    """Seconds of *plan*'s tiles on the machine that the card's costs were measured on."""
    costs, seconds = dict(card.tile_costs), 0.0
    for phase in plan.phases:
        tile = phase.grid.tile(0)
        edge = tile.height * card.latent_scale
        if tile.height != tile.width or edge not in costs:
            return None
        seconds += costs[edge] * len(phase.indices) * len(phase.steps)
    return plan.spec.count * seconds


def _units(plan: RenderPlan) -> Counter[Shape]:
    """What workers do for one picture of *plan*, stage after stage."""
    return Counter(
        shape_of(plan, work, "")
        for group in image_work(plan, 0)
        for work in group
        if work.stage in WORKER_STAGES
    )


def _sum_s(units: Counter[Shape], predictor: Predictor, device: str) -> float:
    return sum(
        count * predictor.predict(replace(shape, device=device)).mean_s
        for shape, count in units.items()
    )
