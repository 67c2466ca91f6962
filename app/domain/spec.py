"""One normalised order: what is rendered, with every default filled in."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from app.domain.schedule import Sampler


class Mode(StrEnum):
    """How a canvas larger than the model's native size is denoised."""

    DIRECT = "direct"
    """One window over the whole canvas."""
    REFINE = "refine"
    """A base picture, enlarged, then independent tiles."""
    PHASED = "phased"
    MULTIDIFFUSION = "multidiffusion"
    SPOT = "spot"


class Priority(StrEnum):
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def level(self) -> int:
        """Message priority in RabbitMQ, larger first; these values order in every profile."""
        return {Priority.HIGH: 9, Priority.NORMAL: 5, Priority.LOW: 1}[self]


PictureFormat = Literal["png", "jpeg", "webp", "tiff"]


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
    tags: dict[str, str] = field(default_factory=dict)
