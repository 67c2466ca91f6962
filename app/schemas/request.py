"""An order as a user gives it, and how it is read."""

from __future__ import annotations

import json
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from app.domain.errors import InvalidRequestError
from app.domain.schedule import Sampler
from app.domain.spec import DecoderName, Depth, PictureFormat
from app.schemas.parts import (
    LoraRequest,
    Name,
    Prompt,
    RegionRequest,
    RerenderRequest,
    StageModels,
    Tag,
    Text,
)
from app.schemas.wording import sentence

_MAX_REQUEST_BYTES = 60 << 10  # with Celery's envelope a message stays below 64 KiB

ModeName = Literal["auto", "direct", "refine", "phased", "multidiffusion", "spot"]
PriorityName = Literal["high", "normal", "low"]


class RenderRequest(BaseModel):
    """An order as a user gives it; sizes in pixels. Unset fields take the model's defaults."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    prompt: Prompt
    negative_prompt: Text = ""
    height: Annotated[int, Field(ge=64, le=1_000_000)] = 1024
    width: Annotated[int, Field(ge=64, le=1_000_000)] = 1024
    count: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """The same seed gives the same picture, for ever; there is no "random" value on purpose."""
    steps: Annotated[int, Field(ge=1, le=500)] | None = None
    guidance: Annotated[float, Field(ge=0, le=100)] | None = None
    sampler: Sampler | None = None
    model: Name | None = None
    models: StageModels = StageModels()
    loras: Annotated[list[LoraRequest], Field(max_length=8)] = []
    control_scale: Annotated[float, Field(ge=0, le=2)] | None = None
    """How closely tiles follow the picture they start from, with a control network."""
    mode: ModeName = "auto"
    init_image: Name | None = None
    """Key of an uploaded picture, as :func:`app.client.upload` returns it."""
    init_fit: Literal["stretch", "crop", "error"] | None = None
    """What becomes of an ``init_image`` of another aspect; it is stretched where this is unset."""
    mask: Name | None = None
    """Key of an uploaded picture: ``init_image`` is painted anew where it is not black."""
    rerender: RerenderRequest | None = None
    strength: Annotated[float, Field(gt=0, le=1)] | None = None
    nsr: Annotated[float, Field(gt=0, le=20)] | None = None
    """Noise-to-signal ratio a refined tile starts from; means the same in every model."""
    tile: Annotated[int, Field(ge=32, le=8192)] | None = None
    overlap: Annotated[int, Field(ge=0, le=8192)] | None = None
    upscale: Literal[1, 2, 4] = 1
    wrap: Literal["none", "x", "xy"] = "none"
    blend: Literal["ramp", "uniform"] = "ramp"
    """How overlapping tiles are averaged; ``uniform`` is MultiDiffusion's own rule."""
    decoder: DecoderName = "full"
    """``tiny`` is a distilled decoder for previews, if the model has one."""
    regions: Annotated[list[RegionRequest], Field(max_length=100)] = []
    priority: PriorityName = "normal"
    tenant: Annotated[str, Field(pattern=r"^[a-z0-9_-][a-z0-9._-]{0,62}$")] = "default"
    """Who orders; tenants share the workers by their weights, however much each submits."""
    group: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Pictures of a batch in work at once: they are finished group by group."""
    deadline_s: Annotated[float, Field(gt=0, le=30 * 86400)] | None = None
    """Seconds from the order until the result is wanted; among equals the earlier goes first."""
    cache: bool = True
    """False renders anew, beside an identical request's result and not in its place."""
    format: PictureFormat = "png"
    pyramid: bool = False
    """Store a deep-zoom pyramid beside each picture."""
    depth: Depth = 8
    """Bits a channel of the result; 16 needs a format that has them."""
    tags: Annotated[dict[Tag, Tag], Field(max_length=50)] = {}

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("must not be empty")
        return text

    def stage_models(self, default: str) -> tuple[str, str]:
        """Names of the models of the base and of the tiles; *default* where none is asked for."""
        model = self.model or default
        return self.models.base or model, self.models.refine or model

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.strength is not None and self.nsr is not None:
            raise ValueError("strength and nsr must not both be given")
        for name in ("mask", "init_fit"):
            value = getattr(self, name)
            if value is not None and self.init_image is None:
                raise ValueError(f"{name} needs an init_image, got {value!r} without one")
        if self.rerender is not None:
            self._check_rerender(self.rerender)
        names = [lora.name for lora in self.loras]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise ValueError(f"loras must name each LoRA once, got {name!r} again")
        for number, region in enumerate(self.regions):
            box = region.box
            if box and (box.bottom > self.height or box.right > self.width):
                raise ValueError(
                    f"regions.{number}.box must lie inside the picture of "
                    f"{self.width}x{self.height} px, got bottom {box.bottom}, right {box.right}"
                )
        return self

    def _check_rerender(self, again: RerenderRequest) -> None:
        if self.init_image is not None or self.count != 1:
            raise ValueError("rerender takes no init_image or mask, and a count of 1")
        if again.box.bottom > self.height or again.box.right > self.width:
            raise ValueError(
                f"rerender.box must lie inside the picture of {self.width}x{self.height} px, "
                f"got bottom {again.box.bottom}, right {again.box.right}"
            )

    @model_validator(mode="after")
    def _fits_a_message(self) -> Self:
        size_bytes = len(json.dumps(self.model_dump(mode="json", exclude_unset=True)))
        if size_bytes > _MAX_REQUEST_BYTES:
            raise ValueError(
                f"request must take at most {_MAX_REQUEST_BYTES} bytes of JSON, "
                f"got {size_bytes} bytes"
            )
        return self


def read_request(payload: object) -> RenderRequest:
    """The request in *payload*. Raises ``InvalidRequestError``: field, rule, value."""
    if isinstance(payload, RenderRequest):
        return payload
    if not isinstance(payload, dict):
        raise InvalidRequestError(
            f"request must be a mapping of fields, got {type(payload).__name__}"
        )
    try:
        return RenderRequest.model_validate(payload)
    except ValidationError as err:
        raise InvalidRequestError(sentence(err)) from err
