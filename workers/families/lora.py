"""LoRAs: small changes to a model's weights (Hu et al. 2021), by diffusers' own loaders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from warnings import catch_warnings, simplefilter

from diffusers import DiffusionPipeline
from safetensors import SafetensorError

from app.domain.errors import ModelError

REASON_CHARS = 200  # of a library's message, which may name every layer of a model


def fuse_loras(pipeline: DiffusionPipeline, loras: Sequence[tuple[Path, float]]) -> None:
    """Add each file of *loras*, times its weight, to the weights of *pipeline* for good.

    Added rather than attached: the networks run as fast as without, and what a pipeline predicts
    never depends on the jobs it served before.
    """
    names = [_load(pipeline, path, f"lora-{number}") for number, (path, _) in enumerate(loras)]
    if not names:
        return
    pipeline.set_adapters(names, [weight for _, weight in loras])
    pipeline.fuse_lora(adapter_names=names)
    pipeline.unload_lora_weights()


def _load(pipeline: DiffusionPipeline, path: Path, name: str) -> str:
    """Load the LoRA in *path* under *name*.

    Raises ``ModelError`` when it does not fit, or changes text encoders only: that is what is left
    of a LoRA for another family.
    """
    try:
        with catch_warnings():
            simplefilter("ignore")  # peft warns of a second LoRA, which is what was asked for
            pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name=name)
    except (OSError, ValueError, LookupError, RuntimeError, SafetensorError) as err:
        reason = shorten(str(err), REASON_CHARS, placeholder=" …")
        raise ModelError(f"LoRA {path.parent.name} does not fit its model: {reason}") from err
    changed = pipeline.get_list_adapters()
    if name not in [*changed.get("unet", ()), *changed.get("transformer", ())]:
        raise ModelError(
            f"LoRA {path.parent.name} does not fit its model: it changes no layer of the denoiser"
        )
    return name
