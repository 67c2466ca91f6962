"""A model's configuration files, and the card they make. No torch needed."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

from app.domain.card import ControlCard, Family, ModelCard
from app.domain.errors import ModelError, UnsupportedError
from app.domain.schedule import FlowSchedule, NoiseSchedule, Schedule
from app.schemas.card import CardFile, read_card_file

CARD = "tilechord.json"
TINY_DECODER = "vae_tiny"
"""Folder of a distilled decoder inside that of its model."""
_TOKENS, _T5_TOKENS = 77, 256  # of CLIP, and of T5 as diffusers cuts it
_NETWORKS = {"sd": "unet", "sdxl": "unet", "sd3": "transformer"}
_ENCODERS = {
    "sd": ("text_encoder",),
    "sdxl": ("text_encoder", "text_encoder_2"),
    "sd3": ("text_encoder", "text_encoder_2"),  # its third, T5, may be left out
}
_DEFAULTS: dict[Family, dict[str, Any]] = {
    "sd": {},
    "sdxl": {"default_guidance": 5.0},
    # Velocity errors of a flow weigh more at equal NSR, so tiles may leave the picture less.
    "sd3": {
        "default_steps": 28,
        "default_guidance": 4.5,
        "default_sampler": "euler",
        "default_nsr": 0.5,
    },
}
_FLOW_VARIANTS = (
    "invert_sigmas",
    "shift_terminal",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
)


def read_model_card(folder: Path, revision: str) -> ModelCard:
    """The card of the model in *folder*.

    Raises ``UnsupportedError`` for a model of another kind, ``ModelError`` for one whose files
    are not complete or whose own card breaks a rule.
    """
    index = read_json(folder / "model_index.json")
    classes = {name: part[1] for name, part in index.items() if isinstance(part, list)}
    family = _family(folder.name, classes, index.get("_class_name"))
    vae = Config(folder / "vae" / "config.json")
    levels = len(vae["block_out_channels"])
    scale = 2 ** (levels - 1)
    network = Config(folder / _NETWORKS[family] / "config.json")
    _check_network(folder.name, network, vae["latent_channels"])
    own = _own_card(folder / CARD)
    facts = (
        {"native_size": network["sample_size"] * scale, "memory_gb": _needed_gb(folder)}
        | _DEFAULTS[family]
        | own.model_dump(exclude={"tile_costs"}, exclude_none=True)
    )
    patch = network["patch_size"] if family == "sd3" else 1
    tokens = (facts["native_size"] // scale // patch) ** 2
    return ModelCard(
        name=folder.name,
        revision=revision,
        family=family,
        latent_scale=scale,
        latent_channels=vae["latent_channels"],
        tile_costs=tuple(sorted((int(tile), cost) for tile, cost in own.tile_costs.items())),
        schedule=_schedule(folder / "scheduler" / "scheduler_config.json", family, tokens),
        vae_levels=levels,
        vae_layers=vae["layers_per_block"],
        feature_channels=vae["block_out_channels"][-1],
        prompt_numbers=_prompt_numbers(folder, family, network, classes),
        tiny_blocks=_tiny_blocks(folder, vae["latent_channels"], levels),
        halving=patch if family == "sd3" else 2 ** (len(network["block_out_channels"]) - 1),
        alignment=patch,
        longest_side=_longest_side(network, patch * scale),
        **facts,
    )


def read_control_card(folder: Path, revision: str) -> ControlCard:
    """The card of the control network in *folder*. Raises ``UnsupportedError`` for others."""
    config = Config(folder / "config.json")
    if (kind := config.get("_class_name")) != "ControlNetModel":
        raise UnsupportedError(
            f"control network {folder.name} must be of class ControlNetModel, got {kind}"
        )
    if config.get("addition_embed_type") == "text_time":
        return ControlCard(folder.name, revision, "sdxl", default_scale=0.8)
    return ControlCard(folder.name, revision, "sd", default_scale=1.0)


def _family(name: str, classes: dict[str, str | None], pipeline: object) -> Family:
    family: Family
    if classes.get("transformer") == "SD3Transformer2DModel":
        family = "sd3"
    elif classes.get("unet") == "UNet2DConditionModel":
        family = "sdxl" if "text_encoder_2" in classes else "sd"
    else:
        raise UnsupportedError(
            f"model {name} must be of the Stable Diffusion 1/2, XL or 3 kind, got {pipeline}"
        )
    for encoder in _ENCODERS[family]:
        if classes.get(encoder, "CLIPTextModel" if family == "sd" else None) is None:
            raise ModelError(f"model {name} must have a {encoder}, its model_index.json has none")
    if (vae := classes.get("vae", "AutoencoderKL")) != "AutoencoderKL":
        raise UnsupportedError(f"model {name} must have a VAE of class AutoencoderKL, got {vae}")
    return family


def _check_network(name: str, network: Config, latent_channels: int) -> None:
    """Refuse networks that want more than latents, text and time: they would run, wrongly."""
    if (channels := network.get("in_channels", latent_channels)) != latent_channels:
        raise UnsupportedError(
            f"model {name}: in_channels must be the VAE's {latent_channels}, got {channels}; "
            "models for inpainting or depth are not supported"
        )
    if network.get("time_cond_proj_dim") is not None:
        raise UnsupportedError(
            f"model {name}: models that take guidance as an input (time_cond_proj_dim) "
            "are not supported"
        )


def _prompt_numbers(
    folder: Path, family: Family, network: Config, classes: dict[str, str | None]
) -> int:
    """How many numbers a prompt and its negative are encoded to; 0 where no file tells."""
    tokens = _optional(folder / "tokenizer" / "tokenizer_config.json", "model_max_length", _TOKENS)
    if family == "sd3":
        tokens += _T5_TOKENS if classes.get("text_encoder_3") else tokens  # zeros in its place
        width, pooled = network.get("joint_attention_dim"), network.get("pooled_projection_dim")
    else:
        width = network.get("cross_attention_dim")
        pooled = _optional(folder / "text_encoder_2" / "config.json", "projection_dim", 0)
    if not (isinstance(width, int) and isinstance(pooled, int)):
        return 0
    return 2 * (tokens * width + pooled)


def _optional(path: Path, field: str, default: int) -> int:
    """A number of a file that need not be there."""
    return int(read_json(path).get(field, default)) if path.is_file() else default


def _tiny_blocks(folder: Path, latent_channels: int, levels: int) -> tuple[int, ...]:
    """Blocks per level of the small decoder. Raises ``ModelError`` when it is another model's."""
    path = folder / TINY_DECODER / "config.json"
    if not path.is_file():
        return ()
    config = Config(path)
    blocks = tuple(config["num_decoder_blocks"])
    if (channels := config["latent_channels"]) != latent_channels or len(blocks) != levels:
        raise ModelError(
            f"model {folder.name}: {TINY_DECODER} must decode {latent_channels} channels over "
            f"{levels} levels like its VAE, got {channels} over {len(blocks)}"
        )
    return blocks


def _longest_side(network: Config, patch_px: int) -> int | None:
    """Where the table of positions ends, in pixels."""
    table = network.get("pos_embed_max_size")
    return None if table is None else int(table) * patch_px


def _schedule(path: Path, family: Family, native_tokens: int) -> Schedule:
    config = read_json(path)
    is_flow = str(config.get("_class_name")).startswith("FlowMatch")
    if is_flow != (family == "sd3"):
        raise UnsupportedError(
            f"{path.name}: a scheduler of family {family} must "
            f"{'not ' if is_flow else ''}be of flow matching, got {config.get('_class_name')}"
        )
    if is_flow:
        return _flow_schedule(path.name, config, native_tokens)
    if config.get("rescale_betas_zero_snr"):
        raise UnsupportedError(f"{path.name}: rescale_betas_zero_snr is not supported")
    known = {field.name for field in fields(NoiseSchedule)} - {"train_steps"}
    given = {name: value for name, value in config.items() if name in known}
    return NoiseSchedule(train_steps=config.get("num_train_timesteps", 1000), **given)


def _flow_schedule(name: str, config: dict[str, Any], tokens: int) -> FlowSchedule:
    """A shift that depends on the picture's size is fixed at the model's native size.

    ``exp(mu) / (exp(mu) + 1 / t - 1)`` of diffusers' dynamic shifting is the static rule with a
    shift of ``exp(mu)``.
    """
    for variant in _FLOW_VARIANTS:
        if config.get(variant):
            raise UnsupportedError(f"{name}: {variant} is not supported")
    train_steps = config.get("num_train_timesteps", 1000)
    if not config.get("use_dynamic_shifting"):
        plain = FlowSchedule(train_steps, config.get("shift", 1.0))
        # diffusers takes the shift of the last step twice; a test compares.
        return FlowSchedule(train_steps, plain.shift, float(plain.share(1.0 / train_steps)))
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    base, most = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    mu = base + (most - base) * (tokens - low) / (high - low)
    is_linear = config.get("time_shift_type") == "linear"
    return FlowSchedule(train_steps, mu if is_linear else math.exp(mu), 1.0 / train_steps)


class Config:
    """A JSON object on disk whose missing fields are named."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values = read_json(path)

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            raise ModelError(f"model file {self._path} must have the field {name}")
        return self._values[name]

    def get(self, name: str, default: object = None) -> Any:
        return self._values.get(name, default)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in *path*. Raises ``ModelError`` naming the file."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as err:
        raise ModelError(f"model file {path} must be readable JSON, got: {err}") from err
    if not isinstance(value, dict):
        raise ModelError(f"model file {path} must hold a JSON object")
    return value


def _own_card(path: Path) -> CardFile:
    return read_card_file(path, read_json(path)) if path.is_file() else CardFile()


def _needed_gb(folder: Path) -> float:
    """What a device must have by the size of the weights."""
    weights_bytes = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    return round(1.2 * weights_bytes / 1e9, 3)
