"""What crosses a boundary: requests from people, messages between processes, results."""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from app.domain.errors import InvalidRequestError
from app.domain.plan import RenderPlan
from app.domain.schedule import Sampler
from app.domain.spec import DecoderName, Depth, PictureFormat
from app.domain.work import Stage, Work

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029\ufeff]")
# Pydantic names the type where our sentence names the field.
_SUBJECT = re.compile(r"^(Value error, |Input |String |List |Dictionary )")
_SHOWN_CHARS = 60
MOST_TOGETHER = 64
"""Tiles that any worker denoises together."""
_MAX_REQUEST_BYTES = 60 << 10  # with Celery's envelope a message stays below 64 KiB


def _is_printable(text: str) -> str:
    if found := _CONTROL.search(text):
        raise ValueError(f"must not contain the control character U+{ord(found[0]):04X}")
    return text


ModeName = Literal["auto", "direct", "refine", "phased", "multidiffusion", "spot"]
PriorityName = Literal["high", "normal", "low"]
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
    """How closely tiles follow the picture they start from, with ``models.control``."""
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
            if getattr(self, name) is not None and self.init_image is None:
                raise ValueError(f"{name} needs an init_image")
        if self.rerender is not None:
            self._check_rerender(self.rerender)
        if self.control_scale is not None and self.models.control is None:
            raise ValueError("control_scale needs models.control")
        names = [lora.name for lora in self.loras]
        if len(set(names)) < len(names):
            raise ValueError("loras must name each LoRA once")
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
        raise InvalidRequestError(_sentence(err)) from err


def _sentence(error: ValidationError) -> str:
    """The first broken rule in our words: pydantic's own text is for its programmers."""
    first = error.errors(include_url=False)[0]
    name = ".".join(_spoken(part) for part in first["loc"]) or "request"
    if first["type"] == "extra_forbidden":
        return f"{name} is not a field of a request"
    if first["type"] == "missing":
        return f"{name} is required"
    rule = _SUBJECT.sub("", first["msg"])
    if first["type"] == "value_error" and name == "request":
        return rule
    return f"{name} {rule[0].lower()}{rule[1:]}, got {_shown(first['input'])}"


def _spoken(part: str | int) -> str:
    """One step of the way to a field; the sender chose it where it is the key of a mapping."""
    text = str(part)
    if len(text) > _SHOWN_CHARS:
        return f"{text[:_SHOWN_CHARS]!r}…"
    return repr(text) if _CONTROL.search(text) else text


def _shown(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str) and len(value) > _SHOWN_CHARS:
        return f"{value[:_SHOWN_CHARS]!r} and {len(value) - _SHOWN_CHARS} more characters"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


class WorkMessage(BaseModel):
    """One unit of work on the wire: names and numbers, never pixels.

    Read tolerantly, so that an old worker survives a new sender.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    job_id: str
    plan_hash: str
    stage: Stage
    image: int
    phase: int = 0
    index: int = 0
    more: list[int] = []
    """Further tiles of the same image and phase."""
    together: int = MOST_TOGETHER
    """How many of its tiles are denoised together, at most."""
    attempt: int = 0
    """How often the unit was sent again because nobody answered for it."""

    @property
    def work(self) -> Work:
        return Work(self.stage, self.image, self.phase, self.index)

    @property
    def works(self) -> tuple[Work, ...]:
        """All units of the message, its own first."""
        indices = dict.fromkeys([self.index, *self.more])
        return tuple(Work(self.stage, self.image, self.phase, index) for index in indices)


class ThumbnailRecord(BaseModel):
    """The JPEG beside a picture; ``url`` is made as the picture's own."""

    key: str
    url: str = ""
    height: int
    width: int


class PyramidRecord(BaseModel):
    """The deep-zoom pyramid beside a picture; a presigned URL would open none of its tiles."""

    key: str
    """Of its description; tiles are ``LEVEL/COLUMN_ROW.jpg`` below the key with ``_files/``
    in place of ``.dzi``."""
    tiles: int


class PictureRecord(BaseModel):
    """One finished picture in a manifest."""

    key: str
    url: str = ""
    """Made when the manifest is read and not stored with it: a presigned one expires."""
    height: int
    width: int
    format: PictureFormat
    sha256: str
    size_bytes: int
    thumbnail: ThumbnailRecord | None = None
    """``None`` for pictures from before there were any."""
    pyramid: PyramidRecord | None = None


class WorkerShare(BaseModel):
    """What one worker did for a job."""

    tiles: int = 0
    cores: int = 0
    seconds: float = 0.0


class Lineage(BaseModel):
    """What a picture was before a part of it was rendered again."""

    job_id: str | None
    plan_hash: str
    image: int
    box: RegionBox
    seed: int


class Manifest(BaseModel):
    """The result of a job."""

    job_id: str
    plan_hash: str
    images: list[PictureRecord]
    quality: dict[str, float]
    timings: dict[str, float]
    """Seconds of work by stage, summed over workers; ``workers_wall`` is the time from the first
    unit's start to the last one's end, ``round_latency`` the mean time from a phase's last tile to
    the first unit after it."""
    workers: dict[str, WorkerShare]
    executions: int
    """How often units were executed; more than ``units`` means some ran twice."""
    units: int
    cached: bool = False
    lineage: Lineage | None = None


class Schedule(BaseModel):
    """How an open job stands in line, as the dispatcher shows it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    position: int | None = None
    """Jobs that are served before it; ``None`` when all of its units are with workers."""
    eta_s: float | None = None
    """Predicted seconds until its result; ``None`` while no worker is alive."""
    deadline_ms: int | None = None
    """When the result is wanted, in milliseconds of the epoch."""
    pending_units: int = 0
    pending_s: float = 0.0
    state: str = "open"


_PLANS = TypeAdapter(RenderPlan)


def read_plan(data: bytes) -> RenderPlan:
    """The plan written by ``RenderPlan.to_json``."""
    return _PLANS.validate_json(data)
