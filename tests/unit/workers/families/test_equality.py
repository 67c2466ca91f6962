"""One walk in sigma space gives what each of diffusers' own pipelines gives."""

import pytest
import torch

from app.domain.geometry import Box
from app.domain.noise import Stream, noise_field
from app.domain.schedule import full_steps
from workers.denoise import denoise, guided_denoiser


def no_check() -> None: ...


def initial_noise(model, height=16, width=16):
    box = Box(0, 0, height, width)
    field = noise_field(box, model.card.latent_channels, seed=3, stream=Stream.INITIAL)
    return torch.from_numpy(field)[None]


def render(model, noise, *, steps, guidance, sampler="ddim", negative="fog"):
    walk = full_steps(model.card.schedule, steps, sampler)
    prompts = model.encode_prompts([negative, "a map"])
    denoiser = guided_denoiser(model, prompts, guidance)
    return denoise(denoiser, noise * walk.noise_scale, walk, sampler, no_check)


def render_with_diffusers(model, noise, *, steps, guidance, negative="fog"):
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


@pytest.mark.parametrize("guidance", [1.0, 3.0], ids=["unguided", "guided"])
@pytest.mark.parametrize("steps", [4, 11])
def test_a_direct_render_equals_the_pipeline_of_diffusers(family_model, steps, guidance):
    noise = initial_noise(family_model)

    ours = render(family_model, noise, steps=steps, guidance=guidance)

    theirs = render_with_diffusers(family_model, noise, steps=steps, guidance=guidance)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
