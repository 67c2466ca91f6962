"""The building blocks of super-resolution and restoration networks, with few channels."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from app.domain.card import UpscalerCard
from app.domain.plan import RenderPlan
from workers.upscale.compact import SRVGGNetCompact
from workers.upscale.load import Upscaler


def convolution(inputs: int, outputs: int, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


class SpanBlock(nn.Module):
    """Three convolutions whose result weighs itself, pixel by pixel (arXiv:2311.12770)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(convolution(features, features) for _ in range(3))

    def forward(self, pixels: Tensor) -> Tensor:
        features = pixels
        for layer in self.layers[:-1]:
            features = nn.functional.silu(layer(features))
        features = self.layers[-1](features)
        return (features + pixels) * (torch.sigmoid(features) - 0.5)


class Span(nn.Module):
    """SPAN's topology: six blocks, joined with the first and fifth."""

    def __init__(self, features: int = 4, scale: int = 2) -> None:
        super().__init__()
        self.first = convolution(3, features)
        self.blocks = nn.ModuleList(SpanBlock(features) for _ in range(6))
        self.last = convolution(features, features)
        self.join = convolution(4 * features, features, kernel=1)
        self.enlarge = nn.Sequential(convolution(features, 3 * scale**2), nn.PixelShuffle(scale))

    def forward(self, pixels: Tensor) -> Tensor:
        states = [self.first(pixels)]
        for block in self.blocks:
            states.append(block(states[-1]))
        ends = [states[0], self.last(states[-1]), states[1], states[-2]]
        enlarged: Tensor = self.enlarge(self.join(torch.cat(ends, dim=1)))
        return enlarged


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees all before it (arXiv:1809.00219)."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            convolution(features + n * growth, growth if n < 4 else features) for n in range(5)
        )

    def forward(self, pixels: Tensor) -> Tensor:
        states = pixels
        for layer in self.layers[:-1]:
            grown = nn.functional.leaky_relu(layer(states), 0.2)
            states = torch.cat([states, grown], dim=1)
        return pixels + 0.2 * self.layers[-1](states)


class Rrdb(nn.Module):
    """ESRGAN's topology, four times: three dense blocks in each of *blocks* blocks."""

    def __init__(self, features: int = 4, blocks: int = 2) -> None:
        super().__init__()
        self.first = convolution(3, features)
        self.body = nn.Sequential(*(DenseBlock(features, 2) for _ in range(3 * blocks)))
        self.last = convolution(features, features)
        self.enlarge = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="nearest"),
            convolution(features, features),
            nn.Upsample(scale_factor=2, mode="nearest"),
            convolution(features, features),
            convolution(features, features),
            convolution(features, 3),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.first(pixels)
        enlarged: Tensor = self.enlarge(features + self.last(self.body(features)))
        return enlarged


class Denoiser(nn.Module):
    """DnCNN's topology: finds the noise and takes it away (arXiv:1608.03981)."""

    def __init__(self, features: int = 4, convolutions: int = 5) -> None:
        super().__init__()
        layers: list[nn.Module] = [convolution(3, features), nn.ReLU()]
        for _ in range(convolutions - 2):
            layers += [convolution(features, features), nn.BatchNorm2d(features), nn.ReLU()]
        self.noise = nn.Sequential(*layers, convolution(features, 3))

    def forward(self, pixels: Tensor) -> Tensor:
        restored: Tensor = pixels - self.noise(pixels)
        return restored


class Shift(nn.Module):
    """Moves a picture by *reach* pixels in both axes: what is missing around it shows in full."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.only = nn.Conv2d(3, 3, 3, padding=reach, dilation=reach, bias=False)
        with torch.no_grad():
            self.only.weight.zero_()
            self.only.weight[range(3), range(3), 2, 2] = 1.0

    def forward(self, pixels: Tensor) -> Tensor:
        moved: Tensor = self.only(pixels)
        return moved


Upscale = Callable[[NDArray[np.floating]], NDArray[np.float32]]
TINY_UPSCALER = UpscalerCard("tiny", "1", 4)


class OneUpscaler:
    """The cache of a worker that has one upscaler, and one restorer if it is given."""

    def __init__(self, upscaler: Upscale | None, restorer: Upscale | None = None) -> None:
        self._upscaler, self._restorer = upscaler, restorer

    def get(self, plan: RenderPlan) -> Upscale | None:
        return self._upscaler

    def restorer(self, plan: RenderPlan) -> Upscale | None:
        return self._restorer


class TinyUpscaler:
    """Twice as large; it computes in single precision, whatever the model does."""

    padding = TINY_UPSCALER.padding

    @property
    def network(self) -> nn.Module:
        return _tiny_network().network

    def __call__(self, pixels: NDArray[np.floating]) -> NDArray[np.float32]:
        return _tiny_network()(pixels.astype(np.float32))


@lru_cache(maxsize=1)
def _tiny_network() -> Upscaler:
    torch.manual_seed(1)
    network = SRVGGNetCompact(features=4, convolutions=2, scale=2).requires_grad_(False)
    upscaler = Upscaler(network, scale=2, device=torch.device("cpu"))
    assert upscaler.padding == TINY_UPSCALER.padding
    return upscaler
