"""Tiles that are held to the base picture: exact like all others, and nearer to it."""

from dataclasses import replace

import numpy as np
import pytest

from app.domain.spec import Mode
from app.domain.work import Stage, Work
from tests.properties.test_engine import CARD, PICTURE, toy_plan, whole
from tests.support.engine import ToyModel, run_phases, toy_context
from tests.unit.domain.cards import plan
from workers.stages import tile

BASE = plan(CARD, mode=Mode.REFINE, height=320, width=384).base


def based(**changes):
    """A toy render that starts from much noise upon a base picture of its own."""
    render = toy_plan(Mode.REFINE, **changes)
    return replace(render, base=BASE, spec=replace(render.spec, init_image=None))


def rendered(render):
    context = toy_context(ToyModel(CARD))
    context.store.put(Work(Stage.BASE, 0).key(render), b"{}")
    return run_phases(context, render, picture=PICTURE)


@pytest.mark.parametrize("sampler", ["ddim", "dpm++2m"], ids=str)
def test_held_tiles_equal_the_whole_canvas(sampler):
    render = based(sampler=sampler)

    np.testing.assert_allclose(rendered(render), rendered(whole(render)), rtol=0, atol=1e-12)
    assert len(render.phases[0].tiles) >= 4


def test_without_the_discard_held_tiles_show_their_edges():
    render = based(discard=False)

    assert np.abs(rendered(render) - rendered(whole(render))).max() > 1e-3


def test_held_tiles_end_nearer_to_their_base(monkeypatch):
    held = rendered(based())

    monkeypatch.setattr(tile, "base_share", lambda sigma: 0.0)
    free = rendered(based())

    assert np.square(held - PICTURE).mean() < np.square(free - PICTURE).mean()
