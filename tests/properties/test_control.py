import numpy as np
import pytest
import torch
from diffusers import StableDiffusionControlNetPipeline, StableDiffusionXLControlNetPipeline

from app.cards import Kind
from app.domain.errors import ModelError, UnsupportedError
from app.domain.geometry import Box
from app.domain.noise import Stream, noise_field
from app.domain.schedule import full_steps
from workers.denoise import at_unit_variance, denoise, guided_denoiser
from workers.families.control import Control
from workers.loading import load_control, load_model

CPU = torch.device("cpu")
PIPELINES = {"sd": StableDiffusionControlNetPipeline, "sdxl": StableDiffusionXLControlNetPipeline}
SIDE = 64


def picture():
    return torch.from_numpy(np.random.default_rng(4).random((1, 3, SIDE, SIDE), dtype=np.float32))


def noise():
    return torch.from_numpy(noise_field(Box(0, 0, 16, 16), 4, seed=3, stream=Stream.INITIAL))[None]


def render(model, control, *, guidance=3.0):
    walk = full_steps(model.card.schedule, 4, "ddim")
    denoiser = guided_denoiser(model, model.encode_prompts(["fog", "a map"]), guidance, control)
    x, _ = denoise(denoiser, noise() * walk.noise_scale, walk, "ddim", lambda: None)
    return at_unit_variance(x, walk.sigmas[-1])


@pytest.mark.parametrize(("family", "guidance"), [("sd", 1.0), ("sd", 3.0), ("sdxl", 3.0)])
def test_a_controlled_render_equals_the_pipeline_of_diffusers(families, family, guidance):
    model = load_model(families, family, CPU)
    network = load_control(families, f"{family}-tile", CPU, torch.float32)
    pipeline = PIPELINES[family](
        **model.pipeline.components,
        controlnet=network,
        **({"requires_safety_checker": False} if family == "sd" else {"add_watermarker": False}),
    )
    pipeline.set_progress_bar_config(disable=True)

    ours = render(model, Control(network, picture(), 0.6), guidance=guidance)

    theirs = pipeline(
        "a map",
        image=picture(),
        negative_prompt="fog",
        height=SIDE,
        width=SIDE,
        latents=noise(),
        num_inference_steps=4,
        guidance_scale=guidance,
        controlnet_conditioning_scale=0.6,
        output_type="latent",
    ).images
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert (ours - render(model, None, guidance=guidance)).abs().max() > 1e-2


def test_a_scale_of_zero_holds_nothing(families):
    model = load_model(families, "sd", CPU)
    network = load_control(families, "sd-tile", CPU, torch.float32)

    held = render(model, Control(network, picture(), 0.0))

    torch.testing.assert_close(held, render(model, None))


def test_a_rolled_window_is_held_to_the_rolled_picture(families):
    model = load_model(families, "sd", CPU)
    control = Control(load_control(families, "sd-tile", CPU, torch.float32), picture(), 1.0)

    moved = control.rolled((3, -2), model.card.latent_scale)

    torch.testing.assert_close(moved.pixels, picture().roll((12, -8), (-2, -1)))
    assert moved.network is control.network


def test_a_flow_takes_no_control_network(families, sd3_model):
    network = load_control(families, "sd-tile", CPU, torch.float32)

    with pytest.raises(UnsupportedError) as caught:
        render(sd3_model, Control(network, picture(), 1.0))

    assert str(caught.value) == "a control network needs a model of family sd or sdxl, got sd3"


def test_an_unknown_control_network_lists_the_known_ones(families):
    with pytest.raises(ModelError) as caught:
        families.folder("sd", Kind.CONTROL)

    assert str(caught.value) == (
        "control network 'sd' is not known; known control networks: sd-tile, sdxl-tile"
    )
