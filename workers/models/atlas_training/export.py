"""The trained networks as a diffusers folder, with the two files that are read without torch."""

import hashlib
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from workers.models.atlas_training.diffusion import new_scheduler
from workers.models.atlas_training.text import MAX_TOKENS

CARD = "tilechord.json"
MANIFEST = "manifest.json"
# Pictures and prose about the model do not make it another model.
NOT_THE_MODEL = (CARD, MANIFEST, "MODEL_CARD.md", "samples")
# Found best by eye and by evaluate_atlas among 8 to 25 steps and guidance 1.5 to 6.
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
        "revision": revision(folder),
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


def write_manifest(folder: Path) -> None:
    """Write the checksum of every other file of *folder*."""
    files = {name: digest for name, digest in checksums(folder).items() if name != MANIFEST}
    (folder / MANIFEST).write_text(json.dumps({"files": files}, indent=2) + "\n")


def revision(folder: Path) -> str:
    """The sha256 over names and checksums of the files that make the model."""
    lines = [
        f"{digest}  {name}\n"
        for name, digest in checksums(folder).items()
        if name.split("/")[0] not in NOT_THE_MODEL
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def checksums(folder: Path) -> dict[str, str]:
    """The sha256 of every file under *folder* by relative path, sorted."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
