"""Stable Diffusion XL: two text encoders, and a UNet that is told the picture's size."""

from __future__ import annotations

from typing import ClassVar

import torch
from diffusers import StableDiffusionXLPipeline
from torch import Tensor

from workers.families.conditioning import Conditioning, stack
from workers.families.sd import StableDiffusion


class StableDiffusionXL(StableDiffusion):
    pipeline_class = StableDiffusionXLPipeline
    load_options: ClassVar[dict[str, object]] = {"add_watermarker": False}

    @torch.inference_mode()
    def encode_prompts(self, prompts: list[str]) -> Conditioning:
        """An empty negative prompt is zeros where the model was trained so."""
        negative, prompt = prompts
        wanted, unwanted, pooled, unwanted_pooled = self.pipeline.encode_prompt(
            prompt, device=self.device, negative_prompt=negative or None
        )
        return stack(unwanted, wanted, unwanted_pooled, pooled)

    def _added_conditions(self, x: Tensor, conditioning: Conditioning) -> dict[str, Tensor | None]:
        """Pooled text, and the tile as a picture of its own: its size, nothing cropped.

        The canvas's size or the tile's place in it would ask for a part of a larger picture,
        which the network draws as a badly cropped one.
        """
        height, width = (side * self.card.latent_scale for side in x.shape[-2:])
        original, crop, target = (height, width), (0, 0), (height, width)
        # Half precision knows no odd number above 2048.
        sizes = torch.tensor([[*original, *crop, *target]], device=self.device, dtype=torch.float32)
        rows = len(conditioning.text)
        return {"text_embeds": conditioning.pooled, "time_ids": sizes.expand(rows, -1)}
