"""Models in this process: verified before they are loaded, loaded once, kept warm."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from numpy.typing import NDArray
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from app.cards import Catalogue, verify
from app.domain.card import ModelCard
from app.domain.errors import ModelError, PermanentError
from app.telemetry import metrics
from workers.device import choose_dtype

_WARM_MODELS = 2  # base and refine model of one job

# Loading is announced by our own log line; the libraries' bars and notes would hide it.
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()
diffusers_logging.set_verbosity_error()
diffusers_logging.disable_progress_bar()


@dataclass(frozen=True, slots=True)
class Model:
    """A Stable Diffusion model on its device."""

    card: ModelCard
    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    device: torch.device
    dtype: torch.dtype
    prediction_type: str

    @torch.inference_mode()
    def encode_prompts(self, prompts: list[str]) -> NDArray[np.float32]:
        """Text embeddings, ``(len(prompts), tokens, features)`` float32."""
        tokens = self.tokenizer(
            prompts,
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        embeddings = self.text_encoder(tokens.input_ids.to(self.device))[0]
        return np.asarray(embeddings.float().cpu().numpy())


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
    folder = catalogue.folder(name)
    verify(folder)
    dtype = choose_dtype(device)
    pipeline = _read_pipeline(folder, dtype)
    for part in (pipeline.text_encoder, pipeline.unet, pipeline.vae):
        part.to(device).eval().requires_grad_(False)
    pipeline.unet.to(memory_format=torch.channels_last)
    return Model(
        card=catalogue.card(name),
        tokenizer=pipeline.tokenizer,
        text_encoder=pipeline.text_encoder,
        unet=pipeline.unet,
        vae=pipeline.vae.to(torch.float32),  # half precision decoders overflow
        device=device,
        dtype=dtype,
        prediction_type=pipeline.scheduler.config.prediction_type,
    )


def _read_pipeline(folder: Path, dtype: torch.dtype) -> StableDiffusionPipeline:
    try:
        return StableDiffusionPipeline.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            safety_checker=None,
            requires_safety_checker=False,
            local_files_only=True,
        )
    except PermanentError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as err:
        raise ModelError(f"model {folder.name} cannot be loaded: {err}") from err
