"""How much context a tile needs so that its core comes out as in the whole picture."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import nn

from app.domain.errors import UnsupportedError

# Layers whose output at a place depends on the input at that place only.
_POINTWISE = (
    nn.PReLU,
    nn.ReLU,
    nn.LeakyReLU,
    nn.SiLU,
    nn.GELU,
    nn.Mish,
    nn.Sigmoid,
    nn.Tanh,
    nn.Hardtanh,
    nn.Identity,
    nn.Dropout,
    nn.BatchNorm2d,  # constants in evaluation mode
)

# Source pixels an interpolation reaches to either side of the one it falls on.
_TAPS = {"nearest": 0, "nearest-exact": 0, "bilinear": 1, "bicubic": 2}

_PROBE_SLACK = 2  # columns beyond the padding in which a wider reach would show


def padding_of(module: nn.Module, *, scale: int) -> int:
    """Pixels of low-resolution context that make tiles of *module* exact, on every side.

    The sum over its layers in the order of registration, confirmed by a probe. Raises
    ``UnsupportedError`` for layers that look further than a fixed distance: pooling,
    attention, strides, normalisation over the picture.
    """
    reach, resolution = Fraction(0), Fraction(1)
    for name, layer in module.named_modules():
        if any(True for _ in layer.children()):
            continue
        if not _is_container(layer):
            layer_reach, factor = _layer_reach(layer, name)
            reach += layer_reach / resolution
            resolution *= factor
    padding = math.ceil(reach)
    _probe(module, padding, scale)
    return padding


def _is_container(layer: nn.Module) -> bool:
    return isinstance(layer, nn.ModuleList | nn.Sequential | nn.ModuleDict)


def _layer_reach(layer: nn.Module, name: str) -> tuple[Fraction, Fraction]:
    """Input pixels *layer* looks beyond a place, and the resolution it multiplies."""
    if isinstance(layer, _POINTWISE):
        return Fraction(0), Fraction(1)
    if isinstance(layer, nn.PixelShuffle):
        return Fraction(0), Fraction(layer.upscale_factor)
    if isinstance(layer, nn.Conv2d) and set(layer.stride) == {1} and layer.padding != "valid":
        sides = zip(layer.kernel_size, layer.dilation, strict=True)
        return Fraction(max(dilation * (size // 2) for size, dilation in sides)), Fraction(1)
    if isinstance(layer, nn.Upsample) and layer.mode in _TAPS and layer.scale_factor is not None:
        factor = layer.scale_factor
        if isinstance(factor, tuple):
            factor = factor[0]
        return Fraction(_TAPS[layer.mode]), Fraction(factor)
    raise UnsupportedError(
        f"a network for tiles must consist of convolutions with a fixed reach, "
        f"got {type(layer).__name__} at {name or 'its root'}"
    )


def _probe(module: nn.Module, padding: int, scale: int) -> None:
    """Raises ``UnsupportedError`` when the output depends on input beyond *padding*.

    A forward method may pool, attend or resize in plain functions no walk over layers sees.
    NaN survives every sum it enters, so a column of NaN marks all that depends on it.
    """
    parameter = next(module.parameters())
    width = 2 * (padding + _PROBE_SLACK) + 1
    strip = torch.zeros((1, 3, 8, width), dtype=parameter.dtype, device=parameter.device)
    strip[..., width // 2] = math.nan
    for columns_last in (True, False):
        with torch.inference_mode():
            marked = module(strip if columns_last else strip.transpose(2, 3)).isnan()
        touched = marked.any(dim=1).any(dim=1 if columns_last else 2)[0].nonzero()
        first, last = int(touched.min()) // scale, int(touched.max()) // scale
        if first < _PROBE_SLACK or last >= width - _PROBE_SLACK:
            raise UnsupportedError(
                f"a network for tiles must not look beyond the {padding} px its layers reach, "
                f"got {max(width // 2 - first, last - width // 2)} px or more"
            )
