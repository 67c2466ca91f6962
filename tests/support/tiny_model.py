"""A Stable Diffusion model small enough for tests: real classes, random weights, fixed seed."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from app.cards import write_manifest

NATIVE_PX = 64
LATENT_SCALE = 4


def build_tiny_model(folder: Path, *, seed: int = 0, native_px: int = NATIVE_PX) -> Path:
    """Write the model into *folder*, in the layout of diffusers, with its manifest.

    A larger *native_px* means fewer, larger tiles: the network itself does not care.
    """
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    pipeline = StableDiffusionPipeline(
        tokenizer=_tokenizer(folder / "tokenizer-source"),
        text_encoder=_text_encoder(),
        unet=_unet(),
        vae=_vae(),
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    for name in ("vocab.json", "merges.txt"):
        (folder / "tokenizer-source" / name).unlink()
    (folder / "tokenizer-source").rmdir()
    card = {
        "native_size": native_px,
        "default_steps": 4,
        "default_guidance": 3.0,
        "default_sampler": "ddim",
    }
    (folder / "tilechord.json").write_text(json.dumps(card))
    write_manifest(folder)
    return folder


def _tokenizer(folder: Path) -> CLIPTokenizer:
    folder.mkdir()
    letters = [chr(code) for code in range(33, 127)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{char}</w>" for char in letters)]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=16)


def _text_encoder() -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=190,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        projection_dim=16,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return CLIPTextModel(config)


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=NATIVE_PX // LATENT_SCALE,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        cross_attention_dim=16,
        attention_head_dim=4,
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        latent_channels=4,
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=4,
        scaling_factor=1.0,
        sample_size=NATIVE_PX,
    )
