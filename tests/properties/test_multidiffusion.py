"""Tiled modes against diffusers' own pipelines, on a real UNet with random weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPanoramaPipeline, StableDiffusionPipeline

from app.canvas import noise_window
from app.domain.grid import Blend
from app.domain.plan import Merge
from app.domain.planner import plan_render
from app.domain.spec import Mode, Wrap
from tests.support.engine import run_phases, toy_context
from tests.unit.domain.cards import LIMITS, SPEC

WINDOW, STRIDE = 64, 8
"""Of diffusers' panorama pipeline, in latents."""


def panorama_plan(card, height, width, **changes):
    """The window layout of diffusers' panorama pipeline; *height* and *width* in latents."""
    scale = card.latent_scale
    spec = replace(
        SPEC,
        prompt="a map",
        negative_prompt="fog",
        height=height * scale,
        width=width * scale,
        steps=2,
        guidance=4.0,
        mode=Mode.MULTIDIFFUSION,
        tile=WINDOW * scale,
        overlap=(WINDOW - STRIDE) * scale,
        blend=Blend.UNIFORM,
        base_model=card.name,
        refine_model=card.name,
        **changes,
    )
    return plan_render(spec, {card.name: card}, upscaler=None, limits=LIMITS)


def theirs(pipeline_class, folder, noise, **options):
    pipeline = pipeline_class.from_pretrained(folder, safety_checker=None)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    height, width = noise.shape[1:]
    size = {"height": 8 * height, "width": 8 * width}  # the panorama pipeline divides by 8
    done = pipeline(
        "a map",
        negative_prompt="fog",
        latents=torch.from_numpy(noise)[None],
        num_inference_steps=2,
        guidance_scale=4.0,
        output_type="latent",
        **size | options,
    )
    return done.images[0].numpy()


@pytest.mark.parametrize(
    ("wrap", "circular"), [(Wrap.NONE, False), (Wrap.X, True)], ids=["flat", "circular padding"]
)
def test_multidiffusion_equals_the_panorama_pipeline_of_diffusers(
    tiny, tiny_folder, wrap, circular
):
    render = panorama_plan(tiny.card, WINDOW, 80, wrap=wrap)
    noise = noise_window(render, 0, render.canvas)

    ours = run_phases(toy_context(tiny), render)

    expected = theirs(
        StableDiffusionPanoramaPipeline, tiny_folder, noise, circular_padding=circular
    )
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)


def test_one_full_window_equals_the_plain_pipeline_of_diffusers(tiny, tiny_folder):
    render = panorama_plan(tiny.card, WINDOW, WINDOW)
    noise, scale = noise_window(render, 0, render.canvas), tiny.card.latent_scale

    ours = run_phases(toy_context(tiny), render)

    size = {"height": WINDOW * scale, "width": WINDOW * scale}
    np.testing.assert_allclose(
        ours, theirs(StableDiffusionPipeline, tiny_folder, noise, **size), rtol=0, atol=1e-4
    )


def test_averaging_the_state_or_the_prediction_is_the_same_for_one_step(tiny):
    render = panorama_plan(tiny.card, WINDOW, 80)
    apart = replace(
        render,
        phases=tuple(
            replace(phase, merge=Merge.CLEAN) if phase is not render.phases[-1] else phase
            for phase in render.phases
        ),
    )

    one, other = run_phases(toy_context(tiny), render), run_phases(toy_context(tiny), apart)

    # They differ by the variance that averaged noise has lost, which is restored in one of them.
    assert np.abs(one - other).max() < 0.05
