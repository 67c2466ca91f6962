"""SRVGGNetCompact, the small Real-ESRGAN network (Wang et al. 2021, arXiv:2107.10833)."""

from __future__ import annotations

import torch
from torch import nn


class SRVGGNetCompact(nn.Module):
    """``(N, 3, H, W)`` in ``[0, 1]`` to ``(N, 3, s H, s W)``, about ``[0, 1]``.

    Parameter names are those of the published checkpoints (xinntao/Real-ESRGAN). *shrink*
    halves the result again, as the ×2 file of the network does.
    """

    def __init__(
        self, *, features: int = 64, convolutions: int = 16, scale: int = 4, shrink: bool = False
    ) -> None:
        super().__init__()
        self.body = nn.ModuleList([_convolution(3, features), nn.PReLU(features)])
        for _ in range(convolutions):
            self.body += [_convolution(features, features), nn.PReLU(features)]
        self.body.append(_convolution(features, 3 * scale * scale))
        self.shuffle = nn.PixelShuffle(scale)
        self.scale = scale
        # ncnn's bicubic: four taps and no antialiasing, which is torch's.
        self.shrink = nn.Upsample(scale_factor=0.5, mode="bicubic") if shrink else nn.Identity()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features = pixels
        for layer in self.body:
            features = layer(features)
        enlarged = nn.functional.interpolate(pixels, scale_factor=self.scale, mode="nearest")
        result: torch.Tensor = self.shrink(self.shuffle(features) + enlarged)
        return result


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)
