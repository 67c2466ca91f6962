"""Stable Diffusion 1 and 2: a UNet that predicts noise, velocity or the picture."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from app.domain.errors import UnsupportedError
from workers.families.conditioning import Conditioning, stack
from workers.families.control import Control
from workers.families.model import Model


class StableDiffusion(Model):
    pipeline_class = StableDiffusionPipeline
    load_options: ClassVar[dict[str, object]] = {
        "safety_checker": None,
        "requires_safety_checker": False,
    }

    @torch.inference_mode()
    def encode_prompts(self, prompts: list[str]) -> Conditioning:
        negative, prompt = prompts
        wanted, unwanted = self.pipeline.encode_prompt(
            prompt, self.device, 1, True, negative_prompt=negative
        )
        return stack(unwanted, wanted)

    def predict(
        self,
        x: Tensor,
        sigma: float,
        timestep: float,
        conditioning: Conditioning,
        control: Control | None = None,
    ) -> Tensor:
        stacked = conditioning.repeated(len(x))
        text, x = stacked.text, x.repeat(len(conditioning.text), 1, 1, 1)
        scaled = (x / math.hypot(1.0, sigma)).to(self.dtype)
        added = self._added_conditions(x, stacked)
        held = control.residuals(scaled, timestep, text, added) if control else {}
        output = self.pipeline.unet(
            scaled, timestep, encoder_hidden_states=text, added_cond_kwargs=added, **held
        ).sample
        kind = self.pipeline.scheduler.config.prediction_type
        return clean_picture(x, output.to(x.dtype), sigma, kind)

    def _added_conditions(self, x: Tensor, conditioning: Conditioning) -> dict[str, Tensor | None]:
        """What the UNet is told beside text and timestep."""
        del x, conditioning
        return {}


def clean_picture(x: Tensor, output: Tensor, sigma: float, prediction_type: str) -> Tensor:
    """Predicted x0 from a UNet's *output* for ``x = x0 + sigma * noise``."""
    match prediction_type:
        case "epsilon":
            return x - sigma * output
        case "v_prediction":  # Salimans & Ho 2022, with alpha = 1 / sqrt(1 + sigma^2)
            return x / (1.0 + sigma**2) - output * (sigma / math.sqrt(1.0 + sigma**2))
        case "sample":
            return output
        case _:
            raise UnsupportedError(
                f"prediction_type must be epsilon, v_prediction or sample, got {prediction_type!r}"
            )
