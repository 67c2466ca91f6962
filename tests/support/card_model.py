"""A model folder that can be planned for but not rendered with: configuration, no weights."""

from __future__ import annotations

import json
from pathlib import Path

from app.cards import write_manifest

_FILES: dict[str, dict[str, object]] = {
    "model_index.json": {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
    },
    "unet/config.json": {"sample_size": 16, "block_out_channels": [8, 16]},
    "vae/config.json": {
        "block_out_channels": [8, 8, 8],
        "latent_channels": 4,
        "layers_per_block": 1,
    },
    "scheduler/scheduler_config.json": {"num_train_timesteps": 1000},
    "tilechord.json": {
        "default_steps": 4,
        "default_guidance": 3.0,
        "default_sampler": "ddim",
    },
}


def write_card_model(folder: Path) -> Path:
    """Write the model into *folder*; native size 64 px, 4 px per latent."""
    for name, content in _FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    write_manifest(folder)
    return folder
