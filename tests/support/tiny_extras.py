"""Control networks and LoRAs for the tiny models: real classes, random weights, fixed seed."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import ControlNetModel, DiffusionPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import nn

from app.cards import write_manifest


def build_tiny_control(folder: Path, pipeline: DiffusionPipeline, *, seed: int = 1) -> Path:
    """Write a control network for the UNet of *pipeline*; 4 px per latent, as the tiny VAE."""
    torch.manual_seed(seed)
    network = ControlNetModel.from_unet(
        pipeline.unet, conditioning_embedding_out_channels=(4, 8, 8), load_weights_from_unet=False
    )
    for block in (*network.controlnet_down_blocks, network.controlnet_mid_block):
        nn.init.normal_(block.weight, std=0.1)  # they start at zero, which would hold nothing
    nn.init.normal_(network.controlnet_cond_embedding.conv_out.weight)
    network.save_pretrained(folder, safe_serialization=True)
    write_manifest(folder)
    return folder


def build_tiny_lora(folder: Path, pipeline: DiffusionPipeline, *, seed: int = 2) -> Path:
    """Write a LoRA for the denoiser and the first text encoder of *pipeline*, which it spoils."""
    torch.manual_seed(seed)
    name = "unet" if "unet" in pipeline.components else "transformer"
    layers = {
        name: _adapt(getattr(pipeline, name), ["to_q", "to_v"]),
        "text_encoder": _adapt(pipeline.text_encoder, ["q_proj", "v_proj"]),
    }
    folder.mkdir(parents=True)
    weights = {f"{part}_lora_layers": state for part, state in layers.items()}
    pipeline.save_lora_weights(folder, **weights, safe_serialization=True)
    write_manifest(folder)
    return folder


def _adapt(network: nn.Module, layers: list[str]) -> dict[str, torch.Tensor]:
    config = LoraConfig(r=2, lora_alpha=2, target_modules=layers, init_lora_weights=False)
    network.add_adapter(config)
    return get_peft_model_state_dict(network)
