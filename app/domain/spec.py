"""One normalised order: what is rendered, with every default filled in."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from app.domain.geometry import Box
from app.domain.grid import Blend
from app.domain.schedule import Sampler


class Mode(StrEnum):
    """How a canvas larger than the model's native size is denoised."""

    DIRECT = "direct"
    """One window over the whole canvas."""
    REFINE = "refine"
    """A base picture, enlarged, then tiles that exchange once before their details."""
    PHASED = "phased"
    """From noise; tiles exchange a few times, where the layout is decided."""
    MULTIDIFFUSION = "multidiffusion"
    """From noise; tiles exchange at every step (Bar-Tal et al. 2023)."""
    SPOT = "spot"
    """From noise; windows that do not overlap move at every step (Frolov et al. 2024)."""


class Priority(StrEnum):
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def level(self) -> int:
        """Message priority in RabbitMQ, larger first; these values order in every profile."""
        return {Priority.HIGH: 9, Priority.NORMAL: 5, Priority.LOW: 1}[self]


class Wrap(StrEnum):
    """On which axes the picture's two ends meet."""

    NONE = "none"
    X = "x"
    """A panorama: left meets right."""
    XY = "xy"
    """A texture: it tiles the plane."""

    @property
    def rows(self) -> bool:
        """The first row follows the last."""
        return self is Wrap.XY

    @property
    def columns(self) -> bool:
        """The first column follows the last."""
        return self is not Wrap.NONE


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the picture with a prompt of its own; lengths in pixels of the picture."""

    prompt: str
    negative_prompt: str
    box: Box
    weight: float
    feather: int
    """Width of the border over which the region fades in, half of it outside the box."""
    mask: str | None
    """Key of an uploaded picture, stretched over *box*: white is inside the region."""


@dataclass(frozen=True, slots=True)
class Lora:
    """A change of the weights of base and refine model, multiplied by *weight*."""

    name: str
    weight: float

    @property
    def label(self) -> str:
        """What a plan lists its revision under."""
        return f"LoRA {self.name}"


@dataclass(frozen=True, slots=True)
class ControlSpec:
    """The network that holds tiles to the picture they start from."""

    name: str
    scale: float

    @property
    def label(self) -> str:
        """What a plan lists its revision under."""
        return f"control {self.name}"


@dataclass(frozen=True, slots=True)
class Rerender:
    """A part of a finished picture, painted anew from its latents; *box* in its pixels."""

    plan_hash: str
    image: int
    box: Box


PictureFormat = Literal["png", "jpeg", "webp", "jxl", "tiff"]
DecoderName = Literal["full", "tiny"]
Depth = Literal[8, 16]
InitFit = Literal["crop"]


@dataclass(frozen=True, slots=True)
class RenderSpec:
    """The order, as far as it decides pixels or file bytes; sizes in pixels."""

    prompt: str
    negative_prompt: str
    height: int
    width: int
    count: int
    seed: int
    steps: int
    guidance: float
    sampler: Sampler
    mode: Mode
    nsr: float
    tile: int
    overlap: int
    upscale: int
    base_model: str
    refine_model: str
    upscaler: str
    init_image: str | None
    format: PictureFormat
    wrap: Wrap = Wrap.NONE
    blend: Blend = Blend.RAMP
    decoder: DecoderName = "full"
    """``tiny``: the distilled decoder in the model's folder, for previews."""
    regions: tuple[Region, ...] = ()
    loras: tuple[Lora, ...] = ()
    control: ControlSpec | None = None
    restore: str | None = None
    """The network that decoded pixels go through before colour fix and super-resolution."""
    mask: str | None = None
    """Key of an uploaded picture: ``init_image`` is painted anew where it is not black."""
    init_fit: InitFit | None = None
    """``crop``: the middle of ``init_image`` in the canvas's aspect; otherwise it is stretched."""
    rerender: Rerender | None = None
    pyramid: bool = False
    """A deep-zoom pyramid is stored beside each picture."""
    depth: Literal[16] | None = None
    """Bits a channel of cores and file, where they are not 8."""
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def restorer_label(self) -> str:
        """What a plan lists the revision of its restorer under."""
        return f"restorer {self.restore}"

    @property
    def bits(self) -> Depth:
        """Bits a channel of cores and file."""
        return self.depth or 8

    @property
    def starts_from_given(self) -> bool:
        """There is a picture before the render: the user's, or one that is rendered again."""
        return self.init_image is not None or self.rerender is not None
