"""Real-ESRGAN compact weights out of ncnn's ``.param`` (layers) and ``.bin`` (numbers)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from app.domain.errors import ModelError
from workers.upscale.compact import SRVGGNetCompact

_PARAM_MAGIC = "7767517"
_FP16_TAG = 0x01306B47  # before a convolution's weights (ncnn, src/modelbin.cpp)

# What a compact network consists of beside its Convolution and PReLU layers.
_PLAIN_LAYERS = {"Input", "Split", "PixelShuffle", "Interp", "BinaryOp"}
_OUTPUTS, _KERNEL, _DILATION, _STRIDE, _PAD, _BIAS, _WEIGHTS = 0, 1, 2, 3, 4, 5, 6


@dataclass(frozen=True, slots=True)
class _Layer:
    """One line of a ``.param`` file; *options* are its ``key=value`` pairs."""

    kind: str
    options: dict[int, float]

    def number(self, key: int) -> int:
        return int(self.options.get(key, 0))


def compact_from_ncnn(param: str, weights: bytes) -> SRVGGNetCompact:
    """The network of a ``realesr-animevideov3`` file pair, float32.

    Raises ``ModelError`` when the layers are not those of a compact network, or the numbers
    do not fill them exactly.
    """
    layers = _parse(param)
    tensors = list(_tensors(layers, weights))
    shuffle = [layer for layer in layers if layer.kind == "PixelShuffle"]
    resizes = [layer.options for layer in layers if layer.kind == "Interp"]
    scale = shuffle[0].number(0) if len(shuffle) == 1 else 0
    enlarge, half = {0: 1, 1: scale, 2: scale}, {0: 3, 1: 0.5, 2: 0.5}  # nearest; bicubic
    if resizes not in ([enlarge], [enlarge, half]):
        raise ModelError(f"ncnn layers must be a compact network's, got resizes {resizes}")
    network = SRVGGNetCompact(
        features=_layers_of(layers, "PReLU")[0].number(0),
        convolutions=len(_layers_of(layers, "Convolution")) - 2,
        scale=scale,
        shrink=len(resizes) == 2,
    )
    names = list(network.state_dict())
    shapes = [tuple(tensor.shape) for tensor in network.state_dict().values()]
    if [array.size for array in tensors] != [int(np.prod(shape)) for shape in shapes]:
        raise ModelError("ncnn layers must be a compact network's, got other weight counts")
    state = {
        name: torch.from_numpy(array.reshape(shape))
        for name, array, shape in zip(names, tensors, shapes, strict=True)
    }
    network.load_state_dict(state)
    return network.eval()


def _layers_of(layers: list[_Layer], kind: str) -> list[_Layer]:
    """The layers of one *kind*, in order. Raises ``ModelError`` when there is none."""
    found = [layer for layer in layers if layer.kind == kind]
    if not found:
        raise ModelError(f"ncnn layers must be a compact network's, got no {kind}")
    return found


def _parse(param: str) -> list[_Layer]:
    lines = param.splitlines()
    if not lines or lines[0].strip() != _PARAM_MAGIC:
        raise ModelError(f"an ncnn param file must start with {_PARAM_MAGIC}, got {lines[:1]}")
    layers = []
    for line in lines[2:]:
        kind, _, inputs, outputs, *rest = line.split()
        pairs = (pair.split("=") for pair in rest[int(inputs) + int(outputs) :])
        layers.append(_Layer(kind, {int(key): float(value) for key, value in pairs}))
    return layers


def _tensors(layers: list[_Layer], weights: bytes) -> Iterator[NDArray[np.float32]]:
    """Flat float32 arrays in file order: weight and bias of convolutions, slopes of PReLUs."""
    numbers = _Numbers(weights)
    for layer in layers:
        if layer.kind == "Convolution":
            _check_convolution(layer)
            yield numbers.tagged(layer.number(_WEIGHTS))
            yield numbers.plain(layer.number(_OUTPUTS))
        elif layer.kind == "PReLU":
            yield numbers.plain(layer.number(0))
        elif layer.kind not in _PLAIN_LAYERS:
            raise ModelError(f"ncnn layers must be a compact network's, got a {layer.kind}")
    numbers.finish()


def _check_convolution(layer: _Layer) -> None:
    if any(layer.options.get(key, 1) != 1 for key in (_DILATION, _STRIDE, _PAD, _BIAS)) or (
        layer.number(_KERNEL) != 3
    ):
        raise ModelError(
            f"ncnn convolutions must be 3x3 with padding 1 and bias, got {layer.options}"
        )


class _Numbers:
    """A cursor in a ``.bin`` file."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def plain(self, count: int) -> NDArray[np.float32]:
        """*count* float32 values."""
        return np.frombuffer(self._take(4 * count), "<f4").astype(np.float32)

    def tagged(self, count: int) -> NDArray[np.float32]:
        """*count* float16 values behind their tag, padded to four bytes, as float32."""
        tag = int.from_bytes(self._take(4), "little")
        if tag != _FP16_TAG:
            raise ModelError(f"ncnn weights must be tagged {_FP16_TAG:#010x} (fp16), got {tag:#x}")
        padded = -(-2 * count // 4) * 4
        return np.frombuffer(self._take(padded), "<f2")[:count].astype(np.float32)

    def finish(self) -> None:
        if self._at != len(self._content):
            raise ModelError(
                f"ncnn weights must end with the last layer at {self._at} B, "
                f"got {len(self._content)} B"
            )

    def _take(self, size: int) -> bytes:
        part = self._content[self._at : self._at + size]
        if len(part) != size:
            raise ModelError(
                f"ncnn weights must hold {self._at + size} B or more, got {len(self._content)} B"
            )
        self._at += size
        return part
