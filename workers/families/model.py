"""A model on its device, and what its family must be able to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DiffusionPipeline
from torch import Tensor

from app.domain.card import ModelCard
from workers.families.conditioning import Conditioning
from workers.families.control import Control


@dataclass(frozen=True)
class Model(ABC):
    """A loaded model. Its networks, tokenizers and loaders are those of diffusers' pipeline."""

    pipeline_class: ClassVar[type[DiffusionPipeline]]
    load_options: ClassVar[dict[str, object]] = {}
    optional_parts: ClassVar[tuple[str, ...]] = ()
    half_precision: ClassVar[torch.dtype] = torch.float16

    card: ModelCard
    pipeline: DiffusionPipeline
    device: torch.device
    dtype: torch.dtype
    tiny: AutoencoderTiny | None = None
    """The distilled decoder beside the VAE."""

    @property
    def vae(self) -> AutoencoderKL:
        return self.pipeline.vae

    @abstractmethod
    def encode_prompts(self, prompts: list[str]) -> Conditioning:
        """``[negative prompt, prompt]`` as diffusers' pipeline encodes them."""

    @abstractmethod
    def predict(
        self,
        x: Tensor,
        sigma: float,
        timestep: float,
        conditioning: Conditioning,
        control: Control | None = None,
    ) -> Tensor:
        """The clean pictures seen in *x* ``(B, C, H, W)``, once for each row of *conditioning*.

        ``x = x0 + sigma * noise`` whatever the family was trained on; *timestep* is the one of
        *sigma* in the model's own schedule. Returns ``(rows * B, C, H, W)`` float32 on the
        device: all windows under the first row, then all under the next.
        Tensors are on the model's device, *conditioning* in its precision.
        """
