"""The networks of real models without their weights: every shape fits, nothing is computed."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from diffusers import DDIMScheduler, SD3Transformer2DModel, UNet2DConditionModel
from torch import nn

from tests.unit.domain.cards import SD15
from workers.denoise import guided_denoiser
from workers.families.conditioning import Conditioning
from workers.families.sd import StableDiffusion
from workers.families.sd3 import StableDiffusion3
from workers.families.sdxl import StableDiffusionXL

pytestmark = pytest.mark.integration

META = torch.device("meta")


def sd15_unet():
    return UNet2DConditionModel(cross_attention_dim=768)


def xl_unet():
    """Stable Diffusion XL base 1.0."""
    return UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )


def sd3_transformer():
    """Stable Diffusion 3 medium."""
    return SD3Transformer2DModel(
        num_layers=24,
        num_attention_heads=24,
        caption_projection_dim=1536,
        pos_embed_max_size=192,
    )


CASES = [
    (StableDiffusion, "unet", sd15_unet, 4, (77, 768), None, 860),
    (StableDiffusionXL, "unet", xl_unet, 4, (77, 2048), 1280, 2567),
    (StableDiffusion3, "transformer", sd3_transformer, 16, (333, 4096), 2048, 2028),
]


@pytest.mark.parametrize(
    ("family", "part", "network", "channels", "text", "pooled", "mega_parameters"),
    CASES,
    ids=["sd 1.5", "xl base", "sd3 medium"],
)
def test_a_tile_goes_through_the_network_of_a_real_model(
    family, part, network, channels, text, pooled, mega_parameters, monkeypatch
):
    for layer in (nn.Linear, nn.Conv2d):  # random numbers without memory still take seconds
        monkeypatch.setattr(layer, "reset_parameters", lambda self: None)
    with META:
        empty = network().to(META, family.half_precision)
        prompts = Conditioning(torch.empty(2, *text), torch.empty(2, pooled) if pooled else None)
        x = torch.empty(1, channels, 128, 120)
    pipeline = SimpleNamespace(**{part: empty}, scheduler=DDIMScheduler())
    model = family(replace(SD15, latent_scale=8), pipeline, META, family.half_precision)

    clean = guided_denoiser(model, prompts, 5.0)(x, 0.7, 400.0)

    assert (clean.shape, clean.dtype) == (x.shape, torch.float32)
    parameters = sum(weights.numel() for weights in empty.parameters())
    assert round(parameters / 1e6) == mega_parameters
