"""Models in this process: verified before they are loaded, loaded once, kept warm."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from textwrap import shorten

import torch
from diffusers import AutoencoderTiny, ControlNetModel, DiffusionPipeline
from safetensors import SafetensorError
from torch import nn

from app.cards import Catalogue, Kind, lora_file, read_revision, verify
from app.domain.card import Family
from app.domain.errors import ModelError, PermanentError
from app.domain.plan import RenderPlan
from app.domain.spec import ControlSpec, Lora
from app.domain.work import model_label
from app.model_files import TINY_DECODER
from app.telemetry import metrics
from workers.device import choose_dtype
from workers.families.lora import REASON_CHARS, fuse_loras
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


_Wanted = tuple[str, str, tuple[tuple[Lora, str], ...]]
"""A model and its LoRAs, each with the revision that a plan was made with."""


class ModelCache:
    """The models this process has loaded, least recently used dropped first.

    A model with LoRAs is another model: they are part of its weights.
    """

    def __init__(self, catalogue: Catalogue, device: torch.device) -> None:
        self._catalogue = catalogue
        self._device = device
        self._models: OrderedDict[_Wanted, Model] = OrderedDict()
        self.warm: list[str] = []
        """Names of the loaded models, replaced as a whole: another thread reads it."""
        self._load_control = lru_cache(maxsize=1)(self._read_control)

    def get(self, plan: RenderPlan, name: str) -> Model:
        """Model *name* with the LoRAs of *plan*.

        Raises ``ModelError`` when files are not those that the plan was made with.
        """
        loras = tuple((lora, plan.revisions[lora.label]) for lora in plan.spec.loras)
        wanted = (name, plan.revisions[name], loras)
        if wanted not in self._models:
            while len(self._models) >= _WARM_MODELS:  # first: there may be no room for one more
                self._models.popitem(last=False)
            self._models[wanted] = self._read(*wanted)
            self.warm = [
                model_label(name, [lora for lora, _ in loras]) for name, _, loras in self._models
            ]
        self._models.move_to_end(wanted)
        return self._models[wanted]

    def control(
        self, plan: RenderPlan, control: ControlSpec, dtype: torch.dtype
    ) -> ControlNetModel:
        """The network of *control*, in the precision of the model it belongs to."""
        return self._load_control(control.name, plan.revisions[control.label], dtype)

    def _read(self, name: str, revision: str, loras: tuple[tuple[Lora, str], ...]) -> Model:
        with _counted(name):
            self._check(Kind.MODEL, name, revision)
            for lora, lora_revision in loras:
                self._check(Kind.LORA, lora.name, lora_revision)
            return load_model(
                self._catalogue, name, self._device, loras=[lora for lora, _ in loras]
            )

    def _read_control(self, name: str, revision: str, dtype: torch.dtype) -> ControlNetModel:
        with _counted(name):
            self._check(Kind.CONTROL, name, revision)
            return load_control(self._catalogue, name, self._device, dtype)

    def _check(self, kind: Kind, name: str, revision: str) -> None:
        found = read_revision(self._catalogue.folder(name, kind))
        if found != revision:
            raise ModelError(
                f"the plan needs revision {revision[:12]} of {kind} {name}, "
                f"this worker has {found[:12]}"
            )


def load_model(
    catalogue: Catalogue, name: str, device: torch.device, *, loras: Sequence[Lora] = ()
) -> Model:
    """Verify and load model *name*; only safetensors are ever read."""
    card, folder = catalogue.card(name), catalogue.folder(name)
    verify(folder)
    files = [(_lora_file(catalogue, lora), lora.weight) for lora in loras]
    family = _FAMILIES[card.family]
    dtype = choose_dtype(device, family.half_precision)
    pipeline = _read_pipeline(family, folder, dtype)
    fuse_loras(pipeline, files)
    for part in pipeline.components.values():
        if isinstance(part, nn.Module):
            part.to(device).eval().requires_grad_(False)
    if "unet" in pipeline.components:
        pipeline.unet.to(memory_format=torch.channels_last)
    pipeline.vae.to(torch.float32)  # half precision decoders overflow
    tiny = load_tiny(folder, device) if card.tiny_blocks else None
    return family(card, pipeline, device, dtype, tiny)


def load_tiny(folder: Path, device: torch.device) -> AutoencoderTiny:
    """The distilled decoder of the verified model in *folder*."""
    with _one_sentence(f"{TINY_DECODER} of model {folder.name}"):
        network = AutoencoderTiny.from_pretrained(
            folder / TINY_DECODER, use_safetensors=True, local_files_only=True
        )
    return network.to(device).eval().requires_grad_(False)


def load_control(
    catalogue: Catalogue, name: str, device: torch.device, dtype: torch.dtype
) -> ControlNetModel:
    """Verify and load control network *name*."""
    folder = catalogue.folder(name, Kind.CONTROL)
    verify(folder)
    with _one_sentence(f"control network {name}"):
        network = ControlNetModel.from_pretrained(
            folder, torch_dtype=dtype, use_safetensors=True, local_files_only=True
        )
    return network.to(device).eval().requires_grad_(False)


def _lora_file(catalogue: Catalogue, lora: Lora) -> Path:
    folder = catalogue.folder(lora.name, Kind.LORA)
    verify(folder)
    return lora_file(folder)


def _read_pipeline(family: type[Model], folder: Path, dtype: torch.dtype) -> DiffusionPipeline:
    absent = {name: None for name in family.optional_parts if not (folder / name).is_dir()}
    with _one_sentence(f"model {folder.name}"):
        return family.pipeline_class.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            **family.load_options,
            **absent,
        )


@contextmanager
def _counted(name: str) -> Iterator[None]:
    """Count a failure to load *name*."""
    try:
        yield
    except ModelError:
        metrics.model_load_failed(name)
        raise


@contextmanager
def _one_sentence(subject: str) -> Iterator[None]:
    """Whatever the libraries raise, as a ``ModelError``."""
    try:
        yield
    except PermanentError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as err:
        reason = shorten(str(err), REASON_CHARS, placeholder=" …")
        raise ModelError(f"{subject} cannot be loaded: {reason}") from err
