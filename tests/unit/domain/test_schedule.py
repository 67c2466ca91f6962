import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from app.domain.errors import UnsupportedError
from app.domain.schedule import (
    NSR_OF_NOISE,
    FlowSchedule,
    NoiseSchedule,
    Steps,
    full_steps,
    partial_steps,
    strength_to_nsr,
)


@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_sigmas_are_those_of_diffusers(beta_schedule):
    theirs = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule=beta_schedule
    ).alphas_cumprod.double()

    ours = NoiseSchedule(beta_schedule=beta_schedule).sigmas()

    np.testing.assert_allclose(ours, torch.sqrt((1 - theirs) / theirs), rtol=1e-3)


@pytest.mark.parametrize("steps", [1, 7, 20, 50])
def test_ddim_visits_the_timesteps_of_diffusers(steps):
    scheduler = DDIMScheduler(steps_offset=1)
    scheduler.set_timesteps(steps)

    ours = full_steps(NoiseSchedule(), steps, "ddim").timesteps

    assert list(ours) == scheduler.timesteps.tolist()


def test_other_samplers_start_at_the_last_timestep_and_end_clean():
    steps = full_steps(NoiseSchedule(), 12, "dpm++2m")

    assert steps.timesteps[0] == 999
    assert steps.sigmas[-1] == 0
    assert len(steps) == 12


def test_a_partial_walk_never_has_fewer_than_four_evaluations():
    assert len(partial_steps(NoiseSchedule(), 2, nsr=0.3)) == 4


def test_strength_one_is_the_noisiest_level():
    schedule = NoiseSchedule()

    assert strength_to_nsr(schedule, 1.0) == schedule.sigmas()[-1]


def test_an_unknown_schedule_is_refused():
    with pytest.raises(UnsupportedError, match=r"^beta_schedule is not known, got 'cubic'$"):
        NoiseSchedule(beta_schedule="cubic").sigmas()  # type: ignore[arg-type]


FLOW = FlowSchedule(shift=3.0, last_time=3 / 1002)


def as_share(sigmas):
    return [sigma / (1 + sigma) for sigma in sigmas]


@pytest.mark.parametrize("steps", [1, 4, 28])
@pytest.mark.parametrize("sampler", ["ddim", "euler", "dpm++2m"])
def test_a_flow_takes_the_steps_of_diffusers(steps, sampler):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(steps)

    ours = full_steps(FLOW, steps, sampler)

    np.testing.assert_allclose(ours.timesteps, scheduler.timesteps, rtol=1e-6)
    np.testing.assert_allclose(as_share(ours.sigmas), scheduler.sigmas, atol=2e-6)


@pytest.mark.parametrize("mu", [0.5, 1.15])
@pytest.mark.parametrize("kind", ["exponential", "linear"])
def test_a_shift_by_size_is_the_static_rule_with_another_number(mu, kind):
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, time_shift_type=kind)
    scheduler.set_timesteps(9, mu=mu)

    shift = np.exp(mu) if kind == "exponential" else mu
    ours = full_steps(FlowSchedule(shift=shift, last_time=0.001), 9, "euler")

    np.testing.assert_allclose(as_share(ours.sigmas), scheduler.sigmas, atol=2e-6)


def test_a_flow_starts_from_noise_of_unit_variance_in_its_own_scale():
    steps = full_steps(FLOW, 4, "euler")

    assert steps.sigmas[0] == NSR_OF_NOISE
    assert steps.noise_scale / (1 + steps.sigmas[0]) == pytest.approx(1.0, abs=1e-9)


@given(st.floats(0.05, 20), st.floats(1, 6), st.integers(1, 60))
def test_a_partial_walk_of_a_flow_starts_where_it_is_asked_to(nsr, shift, steps):
    walk = partial_steps(FlowSchedule(shift=shift), steps, nsr=nsr)

    assert walk.sigmas[0] == pytest.approx(nsr, rel=1e-6)
    assert walk.noise_scale == walk.sigmas[0]
    assert walk.sigmas[-1] == 0
    assert list(walk.sigmas) == sorted(set(walk.sigmas), reverse=True)
    assert 4 <= len(walk) <= max(4, steps)
    assert list(walk.timesteps) == sorted(set(walk.timesteps), reverse=True)


@pytest.mark.parametrize(
    ("nsr", "strength"), [(0.35, 0.10), (0.5, 0.14), (0.7, 0.19), (0.9, 0.23), (1.2, 0.29)]
)
def test_a_strength_of_a_flow_is_diffusers_own(nsr, strength):
    assert strength_to_nsr(FLOW, strength) == pytest.approx(nsr, rel=0.05)


def test_full_strength_of_a_flow_is_noise_alone():
    assert strength_to_nsr(FLOW, 1.0) == NSR_OF_NOISE


@pytest.mark.parametrize("schedule", [NoiseSchedule(), FLOW], ids=["noise", "flow"])
def test_steps_survive_the_way_through_json(schedule):
    steps = full_steps(schedule, 5, "ddim")

    read = TypeAdapter(Steps).validate_json(json.dumps(asdict(steps)))

    assert json.dumps(asdict(read)) == json.dumps(asdict(steps))
