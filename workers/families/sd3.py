"""Stable Diffusion 3: a transformer that predicts the velocity of a straight flow."""

from __future__ import annotations

from typing import ClassVar

import torch
from diffusers import StableDiffusion3Pipeline
from torch import Tensor

from app.domain.errors import UnsupportedError
from workers.families.conditioning import Conditioning, stack
from workers.families.control import Control
from workers.families.model import Model


class StableDiffusion3(Model):
    pipeline_class = StableDiffusion3Pipeline
    load_options: ClassVar[dict[str, object]] = {"image_encoder": None, "feature_extractor": None}
    optional_parts = ("text_encoder_3", "tokenizer_3")  # T5, larger than the rest of the model
    half_precision = torch.bfloat16  # in float16 Flux, of the same class, gives NaN

    @torch.inference_mode()
    def encode_prompts(self, prompts: list[str]) -> Conditioning:
        """Two CLIP encoders and T5; a model without T5 gets zeros in its place."""
        negative, prompt = prompts
        wanted, unwanted, pooled, unwanted_pooled = self.pipeline.encode_prompt(
            prompt, None, None, device=self.device, negative_prompt=negative
        )
        return stack(unwanted, wanted, unwanted_pooled, pooled)

    def predict(
        self,
        x: Tensor,
        sigma: float,
        timestep: float,
        conditioning: Conditioning,
        control: Control | None = None,
    ) -> Tensor:
        """``flow = (1 - s) x0 + s noise`` with ``s = sigma / (1 + sigma)`` is ``x / (1 + sigma)``.

        Its velocity is ``noise - x0``. The position table is cut to the size of *x*: a tile's
        positions are its own, as in the pictures the network was trained on.
        """
        if control is not None:
            raise UnsupportedError("a control network needs a model of family sd or sdxl, got sd3")
        stacked = conditioning.repeated(len(x))
        flow = x.repeat(len(conditioning.text), 1, 1, 1) / (1.0 + sigma)
        velocity: Tensor = self.pipeline.transformer(
            hidden_states=flow.to(self.dtype),
            timestep=torch.full((len(flow),), timestep, device=self.device, dtype=torch.float32),
            encoder_hidden_states=stacked.text,
            pooled_projections=stacked.pooled,
        ).sample
        return flow - sigma / (1.0 + sigma) * velocity.to(x.dtype)
