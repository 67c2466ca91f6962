from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidPlanError
from app.domain.geometry import Box, parts
from app.domain.grid import Blend
from app.domain.phases import BOUNDARIES, LAYOUT_DECIDED
from app.domain.plan import Merge
from app.domain.schedule import FlowSchedule, NoiseSchedule, Steps, full_steps
from app.domain.spec import Mode, Wrap
from tests.unit.domain.cards import SD15, plan

MODES = [Mode.REFINE, Mode.PHASED, Mode.MULTIDIFFUSION, Mode.SPOT]


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("sampler", ["ddim", "dpm++2m"], ids=str)
def test_the_phases_of_every_mode_are_one_walk_cut_in_parts(mode, sampler):
    render = plan(mode=mode, sampler=sampler, nsr=6.0)
    walks = [phase.steps for phase in render.phases]

    assert all(one.sigmas[-1] == other.sigmas[0] for one, other in pairwise(walks))
    assert sum(len(walk) for walk in walks) == len({t for w in walks for t in w.timesteps})
    assert [walk.noise_scale > 0 for walk in walks] == [True] + [False] * (len(walks) - 1)


def test_refinement_from_little_noise_is_one_phase_of_independent_tiles():
    assert len(plan(mode=Mode.REFINE, nsr=0.34).phases) == 1


@pytest.mark.parametrize("nsr", [0.5, 1.1])
def test_refinement_exchanges_once_before_its_details(nsr):
    assert len(plan(mode=Mode.REFINE, nsr=nsr).phases) == 2


def test_a_tile_alone_exchanges_nothing():
    assert len(plan(mode=Mode.PHASED, height=512, width=512).phases) == 1


def test_refinement_from_more_noise_exchanges_where_the_layout_is_decided():
    starts = [phase.steps.sigmas[0] for phase in plan(mode=Mode.REFINE, nsr=6.0).phases]

    assert len(starts) == 5
    assert all(
        start <= boundary for start, boundary in zip(starts[1:], BOUNDARIES[1:], strict=True)
    )


def test_phased_exchanges_at_the_first_sigma_below_each_boundary():
    render = plan(mode=Mode.PHASED, sampler="dpm++2m")
    sigmas = full_steps(SD15.schedule, 20, "dpm++2m").sigmas

    expected = [next(s for s in sigmas if s <= boundary) for boundary in BOUNDARIES]

    assert [phase.steps.sigmas[0] for phase in render.phases[1:]] == expected
    assert [phase.merge for phase in render.phases] == [*[Merge.CLEAN] * 5, Merge.STATE]


def test_multidiffusion_exchanges_after_every_step():
    render = plan(mode=Mode.MULTIDIFFUSION)

    assert [len(phase.steps) for phase in render.phases] == [1] * 20
    assert {phase.merge for phase in render.phases} == {Merge.STATE}


def test_spot_moves_its_windows_at_every_step_and_ends_with_an_overlap():
    *moving, still, last = plan(mode=Mode.SPOT).phases

    assert {phase.grid.blend for phase in moving} == {Blend.PASTE}
    assert len({phase.grid for phase in moving}) == len(moving)
    assert {still.grid.blend, last.grid.blend} == {Blend.RAMP}
    assert still.steps.sigmas[0] <= LAYOUT_DECIDED


@given(
    mode=st.sampled_from(MODES),
    wrap=st.sampled_from(Wrap),
    height=st.integers(4, 40),
    width=st.integers(4, 40),
)
def test_every_phase_of_every_mode_covers_the_canvas(mode, wrap, height, width):
    render = plan(mode=mode, wrap=wrap, height=height * 64, width=width * 64, steps=4)

    for phase in render.phases:
        covered = np.zeros((render.canvas_height, render.canvas_width))
        for index, tile in enumerate(phase.tiles):
            assert tile.padded(0, within=render.reach) == tile
            for part in parts(tile, render.canvas):
                covered[part.on_canvas.window] += phase.grid.weight(index)[part.in_box.window]

        assert (covered > 0).all()


def test_a_render_without_a_base_starts_from_noise_alone():
    render = plan(mode=Mode.PHASED)

    assert render.base is None
    assert not render.starts_from_picture
    assert render.phases[0].steps.noise_scale > 10


def test_a_panorama_closes_its_columns_but_not_its_rows():
    grid = plan(mode=Mode.PHASED, wrap=Wrap.X).phases[0].grid

    assert (grid.rows.wraps, grid.columns.wraps) == (False, True)
    assert grid.columns.spans[-1][1] > grid.columns.length


def test_padding_of_a_panorama_may_leave_the_canvas_sideways_only():
    render = plan(wrap=Wrap.X, height=512, width=1024)

    assert Box(0, 0, 8, 8).padded(4, within=render.reach) == Box(0, -4, 12, 12)


def test_a_picture_that_wraps_between_two_latents_is_refused():
    with pytest.raises(InvalidPlanError) as caught:
        plan(wrap=Wrap.X, width=2044)

    assert str(caught.value) == (
        "width must be a multiple of 8 px where the picture wraps, got 2044 px"
    )


def test_a_walk_is_split_at_the_first_sigma_not_above_a_boundary():
    walk = Steps((900, 700, 500, 300), (10.0, 6.0, 3.0, 1.0, 0.0), 10.0)

    first, second = walk.split([5.0, 0.0])

    assert first == Steps((900, 700), (10.0, 6.0, 3.0), 10.0)
    assert second == Steps((500, 300), (3.0, 1.0, 0.0), 0.0)


def test_boundaries_outside_a_walk_do_not_split_it():
    walk = Steps((500, 300), (3.0, 1.0, 0.0), 3.0)

    assert walk.split([8.3, 3.0]) == (walk,)


@pytest.mark.parametrize(
    "schedule", [NoiseSchedule(), FlowSchedule(shift=3.0)], ids=["noise", "flow"]
)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_neither_tile_nor_canvas_changes_a_sigma(mode, schedule):
    card = replace(SD15, schedule=schedule)

    walks = [
        [phase.steps for phase in plan(card, mode=mode, tile=tile, width=width).phases]
        for tile, width in ((512, 2048), (768, 2048), (512, 2600))
    ]

    assert walks[0] == walks[1] == walks[2]
