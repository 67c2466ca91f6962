"""The trained networks as a diffusers folder, with what is read of it without torch."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from app.cards import write_manifest
from app.model_files import CARD
from workers.models.atlas_training.diffusion import new_scheduler

DEFAULT_STEPS = 12
# Chosen by eye from sheets at guidance 2.5 to 5: more washes colours out, less loses the prompt.
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
    """Write what a planner must know of the model in *folder* and its networks do not tell."""
    card = {
        "default_steps": DEFAULT_STEPS,
        "default_guidance": DEFAULT_GUIDANCE,
        "default_sampler": DEFAULT_SAMPLER,
    }
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n")
