import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from app.domain.errors import UnsupportedError
from app.domain.schedule import NoiseSchedule, full_steps, partial_steps, strength_to_nsr


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
