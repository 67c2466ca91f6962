"""One walk in sigma space gives what each of diffusers' own pipelines gives."""

import json

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, EulerDiscreteScheduler
from diffusers.utils import torch_utils

from app.cards import Catalogue, write_manifest
from app.domain.geometry import Box
from app.domain.noise import Stream, noise_field
from app.domain.schedule import Steps, full_steps
from tests.support.tiny_model import build_tiny_model
from workers.denoise import at_unit_variance, denoise, guided_denoiser
from workers.families.sd3 import StableDiffusion3
from workers.loading import load_model


def no_check() -> None: ...


def initial_noise(model, height=16, width=16):
    box = Box(0, 0, height, width)
    field = noise_field(box, model.card.latent_channels, seed=3, stream=Stream.INITIAL)
    return torch.from_numpy(field)[None]


def render(model, noise, *, steps=4, guidance=3.0, sampler="ddim", negative="fog"):
    walk = full_steps(model.card.schedule, steps, sampler)
    prompts = model.encode_prompts([negative, "a map"])
    denoiser = guided_denoiser(model, prompts, guidance)
    x, _ = denoise(denoiser, noise * walk.noise_scale, walk, sampler, no_check)
    return at_unit_variance(x, walk.sigmas[-1])


def render_with_diffusers(model, noise, *, steps=4, guidance=3.0, negative="fog"):
    model.pipeline.set_progress_bar_config(disable=True)
    height, width = (side * model.card.latent_scale for side in noise.shape[-2:])
    return model.pipeline(
        "a map",
        negative_prompt=negative,
        height=height,
        width=width,
        latents=noise.clone(),
        num_inference_steps=steps,
        guidance_scale=guidance,
        output_type="latent",
    ).images


def assert_equal(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("guidance", [1.0, 3.0], ids=["unguided", "guided"])
def test_a_direct_render_equals_the_pipeline_of_diffusers(family_model, guidance):
    noise = initial_noise(family_model)

    ours = render(family_model, noise, steps=7, guidance=guidance)

    assert_equal(ours, render_with_diffusers(family_model, noise, steps=7, guidance=guidance))


def test_it_does_for_a_picture_whose_sides_halve_unevenly(family_model, monkeypatch):
    unit = family_model.card.alignment
    # It asks for multiples of 8 px, which are whole latents of real models, of ours half ones.
    monkeypatch.setattr(type(family_model.pipeline), "check_inputs", lambda *_, **__: None)
    noise = initial_noise(family_model, height=13 * unit, width=9 * unit)

    assert_equal(render(family_model, noise), render_with_diffusers(family_model, noise))


def test_it_does_without_a_negative_prompt(family_model):
    noise = initial_noise(family_model)

    ours = render(family_model, noise, negative="")

    assert_equal(ours, render_with_diffusers(family_model, noise, negative=None))


def test_it_does_by_euler_steps_from_the_last_timestep(sdxl_model, monkeypatch):
    scheduler = EulerDiscreteScheduler.from_config(
        sdxl_model.pipeline.scheduler.config, timestep_spacing="trailing"
    )
    noise = initial_noise(sdxl_model)
    # diffusers takes the largest sigma for the scale of the start where we count the picture's
    # own variance too.
    walk = full_steps(sdxl_model.card.schedule, 5, "euler")
    started = noise * walk.noise_scale / walk.sigmas[0]

    ours = render(sdxl_model, noise, steps=5, sampler="euler")

    with monkeypatch.context() as patch:
        patch.setattr(sdxl_model.pipeline, "scheduler", scheduler)
        theirs = render_with_diffusers(sdxl_model, started, steps=5)
    assert_equal(ours, theirs)


def test_a_flow_takes_the_second_order_steps_of_diffusers(sd3_model, monkeypatch):
    scheduler = DPMSolverMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0
    )
    scheduler.set_timesteps(6)
    shares = scheduler.sigmas.double()
    walk = Steps(
        timesteps=tuple(scheduler.timesteps.tolist()),
        sigmas=tuple((shares / (1 - shares)).tolist()),
        noise_scale=float(1 / (1 - shares[0])),
    )
    noise = initial_noise(sd3_model)
    denoiser = guided_denoiser(sd3_model, sd3_model.encode_prompts(["fog", "a map"]), 3.0)

    ours, _ = denoise(denoiser, noise * walk.noise_scale, walk, "dpm++2m", no_check)

    with monkeypatch.context() as patch:
        patch.setattr(sd3_model.pipeline, "scheduler", scheduler)
        theirs = render_with_diffusers(sd3_model, noise, steps=6)
    assert_equal(ours, theirs)


def test_it_does_with_a_shift_that_depends_on_the_size(tmp_path):
    folder = build_tiny_model(tmp_path / "dynamic", family="sd3")
    path = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text()) | {"use_dynamic_shifting": True}
    path.write_text(json.dumps(config))
    write_manifest(folder)
    model = load_model(Catalogue([tmp_path]), "dynamic", torch.device("cpu"))
    noise = initial_noise(model)

    assert_equal(render(model, noise, steps=5), render_with_diffusers(model, noise, steps=5))


def test_it_does_with_a_third_text_encoder(tmp_path):
    build_tiny_model(tmp_path / "with-t5", family="sd3", with_t5=True)
    model = load_model(Catalogue([tmp_path]), "with-t5", torch.device("cpu"))
    noise = initial_noise(model)
    assert model.pipeline.text_encoder_3 is not None

    ours = render(model, noise)

    assert_equal(ours, render_with_diffusers(model, noise))
    without = StableDiffusion3(model.card, model.pipeline, model.device, model.dtype)
    without.pipeline.register_modules(text_encoder_3=None)
    assert (render(without, noise) - ours).abs().max() > 1e-3


def test_rendering_draws_no_noise_of_torch(family_model, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("torch drew noise")

    for place in (torch, torch_utils):
        for name in ("randn", "randn_like", "rand", "rand_like", "normal", "randn_tensor"):
            if hasattr(place, name):
                monkeypatch.setattr(place, name, refuse)
    monkeypatch.setattr(torch.Tensor, "normal_", refuse)

    assert render(family_model, initial_noise(family_model)).isfinite().all()
