"""Models in this process: verified before they are loaded, loaded once, kept warm."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from safetensors import SafetensorError
from torch import nn

from app.cards import Catalogue, verify
from app.domain.card import Family
from app.domain.errors import ModelError, PermanentError
from app.telemetry import metrics
from workers.device import choose_dtype
from workers.families.model import Model
from workers.families.sd import StableDiffusion
from workers.families.sd3 import StableDiffusion3
from workers.families.sdxl import StableDiffusionXL

_WARM_MODELS = 2  # base and refine model of one job
_FAMILIES: dict[Family, type[Model]] = {
    "sd": StableDiffusion,
    "sdxl": StableDiffusionXL,
    "sd3": StableDiffusion3,
}


class ModelCache:
    """The models this process has loaded, least recently used dropped first."""

    def __init__(self, catalogue: Catalogue, device: torch.device) -> None:
        self._catalogue = catalogue
        self._device = device
        self._models: OrderedDict[str, Model] = OrderedDict()

    def get(self, name: str, revision: str) -> Model:
        """Model *name*. Raises ``ModelError`` when its files are not those of *revision*."""
        if name not in self._models:
            while len(self._models) >= _WARM_MODELS:
                self._models.popitem(last=False)
            self._models[name] = self._load(name)
        self._models.move_to_end(name)
        model = self._models[name]
        if model.card.revision != revision:
            raise ModelError(
                f"the plan needs revision {revision[:12]} of model {name}, "
                f"this worker has {model.card.revision[:12]}"
            )
        return model

    def _load(self, name: str) -> Model:
        try:
            return load_model(self._catalogue, name, self._device)
        except ModelError:
            metrics.model_load_failed(name)
            raise


def load_model(catalogue: Catalogue, name: str, device: torch.device) -> Model:
    """Verify and load model *name*; only safetensors are ever read."""
    card, folder = catalogue.card(name), catalogue.folder(name)
    verify(folder)
    family = _FAMILIES[card.family]
    dtype = choose_dtype(device, family.half_precision)
    pipeline = _read_pipeline(family, folder, dtype)
    for part in pipeline.components.values():
        if isinstance(part, nn.Module):
            part.to(device).eval().requires_grad_(False)
    if "unet" in pipeline.components:
        pipeline.unet.to(memory_format=torch.channels_last)
    pipeline.vae.to(torch.float32)  # half precision decoders overflow
    return family(card, pipeline, device, dtype)


def _read_pipeline(family: type[Model], folder: Path, dtype: torch.dtype) -> DiffusionPipeline:
    absent = {name: None for name in family.optional_parts if not (folder / name).is_dir()}
    try:
        return family.pipeline_class.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            **family.load_options,
            **absent,
        )
    except PermanentError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as err:
        reason = " ".join(str(err).split())
        raise ModelError(f"model {folder.name} cannot be loaded: {reason}") from err
