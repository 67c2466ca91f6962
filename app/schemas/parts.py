"""The parts of an order, and the texts that may stand in it."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029\ufeff]")
"""Characters that no text of an order may hold."""


def _is_printable(text: str) -> str:
    if found := CONTROL.search(text):
        raise ValueError(f"must not contain the control character U+{ord(found[0]):04X}")
    return text


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_is_printable)]
Prompt = Annotated[str, Field(min_length=1, max_length=100_000), AfterValidator(_is_printable)]
Text = Annotated[str, Field(max_length=100_000), AfterValidator(_is_printable)]
Tag = Annotated[str, Field(max_length=200), AfterValidator(_is_printable)]


class StageModels(BaseModel):
    """A model per stage, where it differs from ``model``."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    base: Name | None = None
    refine: Name | None = None
    upscale: Name | None = None
    control: Name | None = None
    """The control network that holds tiles to the picture they start from: the model's own if left
    out, ``none`` for no network."""
    restore: Name | None = None
    """The network of the installation's upscalers, of scale 1, that decoded pixels go through."""


class RegionBox(BaseModel):
    """Half-open rectangle in pixels of the picture."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    top: Annotated[int, Field(ge=0)]
    left: Annotated[int, Field(ge=0)]
    bottom: int
    right: int

    @model_validator(mode="after")
    def _has_area(self) -> Self:
        if self.bottom <= self.top or self.right <= self.left:
            raise ValueError("must have bottom > top and right > left")
        return self


class RegionRequest(BaseModel):
    """A part of the picture with a prompt of its own."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    prompt: Prompt
    negative_prompt: Text = ""
    box: RegionBox | None = None
    """The whole picture when left out, which makes sense with a mask."""
    weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    feather: Annotated[int, Field(ge=0, le=8192)] = 64
    """Width of the border, in pixels, over which the region fades in."""
    mask: Name | None = None
    """Key of an uploaded picture, stretched over the box: white is inside."""


class LoraRequest(BaseModel):
    """A LoRA that is added to the model's weights."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    name: Name
    weight: Annotated[float, Field(ge=-4, le=4)] = 1.0


class RerenderRequest(BaseModel):
    """A part of a finished picture to paint anew; :func:`app.client.rerender` fills it in."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    plan_hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    box: RegionBox
    image: Annotated[int, Field(ge=0)] = 0
    job_id: Name | None = None
    """Who rendered it; told in the manifest."""
