"""Tiled modes against diffusers' own pipelines, on a real UNet with random weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPanoramaPipeline, StableDiffusionPipeline

from app import merging
from app.canvas import noise_window
from app.domain.grid import Blend
from app.domain.plan import Merge
from app.domain.spec import Mode, Wrap
from tests.support.engine import run_phases, toy_context
from tests.support.families import family_plan, in_double_precision

WINDOW, STRIDE = 64, 8
"""Of diffusers' panorama pipeline, in latents."""


def panorama_plan(card, height, width, **changes):
    """The window layout of diffusers' panorama pipeline; *height* and *width* in latents."""
    layout = {
        "negative_prompt": "fog",
        "guidance": 4.0,
        "sampler": "ddim",
        "tile": WINDOW * card.latent_scale,
        "overlap": (WINDOW - STRIDE) * card.latent_scale,
        "blend": Blend.UNIFORM,
        "mode": Mode.MULTIDIFFUSION,
    }
    return family_plan(card, height=height, width=width, **layout | changes)


def theirs(pipeline_class, folder, noise, *, steps, **options):
    pipeline = pipeline_class.from_pretrained(folder, safety_checker=None)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    height, width = noise.shape[1:]
    size = {"height": 8 * height, "width": 8 * width}  # the panorama pipeline divides by 8
    done = pipeline(
        "a map",
        negative_prompt="fog",
        latents=torch.from_numpy(noise)[None],
        num_inference_steps=steps,
        guidance_scale=4.0,
        output_type="latent",
        **size | options,
    )
    return done.images[0].numpy()


@pytest.mark.parametrize(
    ("wrap", "height", "width", "windows"),
    # Its circles are one row of windows: it takes a window's rows at their place in the canvas.
    [(Wrap.NONE, 72, 80, 2 * 3), (Wrap.X, WINDOW, 88, 11)],
    ids=["flat", "circular padding"],
)
def test_multidiffusion_equals_the_panorama_pipeline_of_diffusers(
    tiny, tiny_folder, wrap, height, width, windows
):
    render = panorama_plan(tiny.card, height, width, steps=5, wrap=wrap)
    noise, circular = noise_window(render, 0, render.canvas), wrap is Wrap.X

    ours = run_phases(toy_context(tiny), render)

    pipeline, options = StableDiffusionPanoramaPipeline, {"circular_padding": circular}
    expected = theirs(pipeline, tiny_folder, noise, steps=5, **options)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)
    assert {len(phase.grid) for phase in render.phases} == {windows}


@pytest.mark.parametrize(
    ("mode", "height", "width"),
    [(Mode.MULTIDIFFUSION, WINDOW, WINDOW), (Mode.DIRECT, 24, 40)],
    ids=["one window", "direct"],
)
def test_one_full_window_equals_the_plain_pipeline_of_diffusers(
    tiny, tiny_folder, mode, height, width
):
    render = panorama_plan(tiny.card, height, width, steps=5, mode=mode)
    noise, scale = noise_window(render, 0, render.canvas), tiny.card.latent_scale

    ours = run_phases(toy_context(tiny), render)

    size = {"height": height * scale, "width": width * scale}
    expected = theirs(StableDiffusionPipeline, tiny_folder, noise, steps=5, **size)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("blend", [Blend.RAMP, Blend.UNIFORM], ids=str)
def test_merging_clean_and_noise_apart_differs_by_the_variance_it_restores(
    tiny, blend, monkeypatch
):
    render = panorama_plan(in_double_precision(tiny).card, 24, 40, tile=64, overlap=32, blend=blend)
    *first, last = render.phases
    apart = replace(render, phases=(*(replace(phase, merge=Merge.CLEAN) for phase in first), last))
    exact = in_double_precision(tiny)
    joined, restored = (run_phases(toy_context(exact), plan) for plan in (render, apart))

    monkeypatch.setattr(merging, "_noise_correlation", lambda *_: 1.0)
    unrestored = run_phases(toy_context(exact), apart)

    np.testing.assert_allclose(unrestored, joined, rtol=0, atol=1e-10)
    assert np.abs(restored - joined).max() > 1e-3
