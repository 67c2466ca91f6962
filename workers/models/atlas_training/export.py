"""The trained networks as a diffusers folder, with what is read of it without torch."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from app.cards import write_manifest
from app.model_files import CARD
from workers.models.atlas_training.diffusion import new_scheduler
from workers.models.atlas_training.text import MAX_TOKENS

# Chosen by eye from sheets at guidance 2.5 to 5: more washes colours out, less loses the prompt.
DEFAULT_STEPS = 12
DEFAULT_GUIDANCE = 3.0
DEFAULT_SAMPLER = "dpm++2m"


def export_folder(
    folder: Path,
    *,
    autoencoder: AutoencoderKL,
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    tokenizer: CLIPTokenizer,
) -> None:
    """Write the networks to *folder* as fp16 safetensors, then its card and manifest."""
    pipeline = StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    pipeline.to(torch.float32)
    write_card(folder)
    write_manifest(folder)


def write_card(folder: Path) -> None:
    """Write what a planner must know about the model in *folder*."""
    unet = json.loads((folder / "unet/config.json").read_text())
    vae = json.loads((folder / "vae/config.json").read_text())
    scheduler = json.loads((folder / "scheduler/scheduler_config.json").read_text())
    scale = 2 ** (len(vae["block_out_channels"]) - 1)
    card = {
        "name": "atlas",
        "family": "sd",
        "native_size": unet["sample_size"] * scale,
        "latent_scale": scale,
        "latent_channels": vae["latent_channels"],
        "prediction_type": scheduler["prediction_type"],
        "default_steps": DEFAULT_STEPS,
        "default_guidance": DEFAULT_GUIDANCE,
        "default_sampler": DEFAULT_SAMPLER,
        "max_tokens": MAX_TOKENS,
        "scaling_factor": vae["scaling_factor"],
    }
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n")
