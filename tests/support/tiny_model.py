"""Models small enough for tests: real classes, random weights, fixed seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from app.cards import write_manifest

NATIVE_PX = 64
LATENT_SCALE = 4

FamilyName = Literal["sd", "sd-v", "sdxl", "sd3"]
FAMILIES: tuple[FamilyName, ...] = ("sd", "sd-v", "sdxl", "sd3")


def build_tiny_model(
    folder: Path,
    *,
    family: FamilyName = "sd",
    seed: int = 0,
    native_px: int = NATIVE_PX,
    with_t5: bool = False,
) -> Path:
    """Write the model into *folder*, in the layout of diffusers, with its manifest.

    A larger *native_px* means fewer, larger tiles, and attention at few places: it would cost
    four times as much as all the rest.
    """
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    is_large = native_px > NATIVE_PX
    pipeline = _pipeline(family, _tokenizer(folder), is_large=is_large)
    if with_t5:
        pipeline.register_modules(tokenizer_3=_t5_tokenizer(), text_encoder_3=_t5_encoder())
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


def _pipeline(family: FamilyName, tokenizer: CLIPTokenizer, *, is_large: bool) -> DiffusionPipeline:
    match family:
        case "sd" | "sd-v":
            return StableDiffusionPipeline(
                tokenizer=tokenizer,
                text_encoder=CLIPTextModel(_text_config()),
                unet=_unet(cross_attention_dim=16, **(_DEEPER if is_large else {})),
                vae=_vae(channels=4, mid_block_add_attention=not is_large),
                scheduler=_scheduler("epsilon" if family == "sd" else "v_prediction"),
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )
        case "sdxl":
            return StableDiffusionXLPipeline(
                tokenizer=tokenizer,
                tokenizer_2=tokenizer,
                text_encoder=CLIPTextModel(_text_config(layers=2)),
                text_encoder_2=CLIPTextModelWithProjection(_text_config(layers=2)),
                unet=_unet(
                    cross_attention_dim=32,
                    addition_embed_type="text_time",
                    addition_time_embed_dim=8,
                    projection_class_embeddings_input_dim=16 + 6 * 8,
                ),
                vae=_vae(channels=4),
                scheduler=_scheduler("epsilon"),
                add_watermarker=False,
            )
        case "sd3":
            return StableDiffusion3Pipeline(
                tokenizer=tokenizer,
                tokenizer_2=tokenizer,
                tokenizer_3=None,
                text_encoder=CLIPTextModelWithProjection(_text_config(layers=2)),
                text_encoder_2=CLIPTextModelWithProjection(_text_config(layers=2)),
                text_encoder_3=None,
                transformer=_transformer(),
                vae=_vae(channels=16, shift_factor=0.06),
                scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            )


def _scheduler(prediction_type: str) -> DDIMScheduler:
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )


def _tokenizer(folder: Path) -> CLIPTokenizer:
    source = folder / "tokenizer-source"
    source.mkdir()
    letters = [chr(code) for code in range(33, 127)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{char}</w>" for char in letters)]
    (source / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (source / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(source, model_max_length=16)


def _text_config(*, layers: int = 1) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=190,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=16,
        projection_dim=16,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


def _t5_tokenizer() -> T5Tokenizer:
    letters = [(chr(code), -3.0) for code in range(97, 123)]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -2.0), ("▁", -2.0)]
    return T5Tokenizer(vocab=[*special, *letters], extra_ids=0)


def _t5_encoder() -> T5EncoderModel:
    config = T5Config(vocab_size=30, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=4)
    return T5EncoderModel(config)


_DEEPER = {
    "block_out_channels": (8, 8, 16),
    "down_block_types": ("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
}


def _unet(**changes: object) -> UNet2DConditionModel:
    config: dict[str, object] = {
        "sample_size": NATIVE_PX // LATENT_SCALE,
        "in_channels": 4,
        "out_channels": 4,
        "layers_per_block": 1,
        "block_out_channels": (8, 16),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "norm_num_groups": 4,
        "attention_head_dim": 4,
    }
    return UNet2DConditionModel(**config | changes)


def _transformer() -> SD3Transformer2DModel:
    return SD3Transformer2DModel(
        sample_size=NATIVE_PX // LATENT_SCALE,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        pos_embed_max_size=24,
    )


def _vae(
    *, channels: int, shift_factor: float | None = None, mid_block_add_attention: bool = True
) -> AutoencoderKL:
    return AutoencoderKL(
        latent_channels=channels,
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=4,
        scaling_factor=1.0,
        shift_factor=shift_factor,
        mid_block_add_attention=mid_block_add_attention,
        sample_size=NATIVE_PX,
    )
