"""Control networks: they hold a window to a picture while it is denoised (Zhang et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffusers import ControlNetModel
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Control:
    """What windows are held to, and how much.

    *pixels* are each window's own crop, ``(B, 3, H, W)`` in ``[0, 1]``: with the whole picture,
    each tile would draw all of it.
    """

    network: ControlNetModel
    pixels: Tensor
    scale: float

    def residuals(
        self, x: Tensor, timestep: float, text: Tensor, added: dict[str, Tensor | None]
    ) -> dict[str, object]:
        """What the UNet adds to its own features; arguments as the UNet gets them."""
        pixels = self.pixels.to(x).repeat(len(x) // len(self.pixels), 1, 1, 1)
        down, middle = self.network(
            x,
            timestep,
            encoder_hidden_states=text,
            controlnet_cond=pixels,
            conditioning_scale=self.scale,
            added_cond_kwargs=added,
            return_dict=False,
        )
        return {
            "down_block_additional_residuals": down,
            "mid_block_additional_residual": middle,
        }

    def of(self, windows: Sequence[int]) -> Control:
        """For some of the windows, by their numbers."""
        return Control(self.network, self.pixels[list(windows)], self.scale)

    def rolled(self, shifts: tuple[int, int], latent_scale: int) -> Control:
        """For a window rolled by *shifts* latents, rows and columns."""
        moved = self.pixels.roll([shift * latent_scale for shift in shifts], (-2, -1))
        return Control(self.network, moved, self.scale)
