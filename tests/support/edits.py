"""Parts of pictures painted anew, without an autoencoder: pictures are latents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.domain.editing import Area, with_edit
from app.domain.geometry import Box
from app.domain.plan import RenderPlan
from app.domain.spec import Rerender
from app.domain.work import Stage, Work, pixels_key, plan_key
from app.editing import copy_parent, write_area
from app.storage.memory import MemoryStore
from app.storage.port import BlobStore
from tests.support.engine import Order, run_phases, toy_context
from workers.families.model import Model

Latents = NDArray[np.float32]
WHITE = np.full((1, 1), 255, np.uint8)


def masked(render: RenderPlan, mask: NDArray[np.uint8]) -> tuple[RenderPlan, Area]:
    """*render* as the edit of a given picture where *mask*, stretched over it, is white."""
    spec = replace(render.spec, init_image="inputs/picture", mask="inputs/mask")
    area = Area(spec, mask, render.picture)
    return reduced(replace(render, spec=spec), area), area


def reduced(render: RenderPlan, area: Area) -> RenderPlan:
    """*render* with the work that *area* needs."""
    phases, decode = with_edit(
        render.phases, render.decode, area, canvas=render.canvas, latent=render.latent_scale
    )
    return replace(render, phases=phases, decode=decode)


def painted(
    render: RenderPlan,
    area: Area,
    model: Model,
    *,
    picture: Latents | None,
    order: Order = lambda works: works,
    store: BlobStore | None = None,
) -> Latents:
    """The finished canvas of an edit of *picture*."""
    context = toy_context(model, store)
    write_area(context.store, render, 0, area, lambda: None)
    return run_phases(context, render, picture=picture, order=order)


def finished(
    render: RenderPlan, model: Model, picture: Latents | None
) -> tuple[Latents, MemoryStore]:
    """What *render* gives, and the store of its job, whose pixels are words."""
    store = MemoryStore()
    latents = run_phases(toy_context(model, store), render, picture=picture)
    store.put(plan_key(render.hash), render.to_json())
    store.put(f"{Work(Stage.PICTURE, 0).key(render)}.json", b"{}")
    for core in range(len(render.decode.cores)):
        store.put(pixels_key(render, 0, core), b"pixels of %d" % core)
    return latents, store


def rendered_again(
    parent: RenderPlan, store: BlobStore, model: Model, box: Box, seed: int
) -> tuple[RenderPlan, Latents, list[Work]]:
    """*box* of a finished render with another *seed*: plan, canvas and the tiles executed."""
    again = Rerender(parent.hash, 0, box)
    spec = replace(parent.spec, rerender=again, init_image=None, seed=seed)
    area = Area(spec, WHITE, box)
    render = reduced(replace(parent, spec=spec, base=None), area)
    copy_parent(store, render, 0, again, lambda: None)
    executed: list[Work] = []

    def counted(works: Iterable[Work]) -> Iterable[Work]:
        executed.extend(work for work in works if work.stage is Stage.TILE)
        return works

    latents = painted(render, area, model, picture=None, order=counted, store=store)
    return render, latents, executed
