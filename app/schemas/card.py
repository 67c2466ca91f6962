"""What a model's folder may say of itself in ``tilechord.json``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from app.domain.errors import ModelError
from app.domain.schedule import Sampler
from app.schemas.parts import Name
from app.schemas.wording import sentence

_SIZE = re.compile("[1-9][0-9]{0,3}")


class CardFile(BaseModel):
    """Facts of a model that go before those of its configuration files; sizes in pixels."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    native_size: Annotated[int, Field(ge=8, le=8192)] | None = None
    default_steps: Annotated[int, Field(ge=1, le=500)] | None = None
    default_guidance: Annotated[float, Field(ge=0, le=100)] | None = None
    default_sampler: Sampler | None = None
    default_nsr: Annotated[float, Field(gt=0, le=20)] | None = None
    control: Name | None = None
    """The control network that its tiles take by themselves."""
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    """What a device must have; guessed from the weights where it is not told."""
    tile_costs: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Size of a tile to the seconds of one step."""

    @field_validator("tile_costs")
    @classmethod
    def _are_sizes(cls, value: dict[str, float]) -> dict[str, float]:
        if not all(_SIZE.fullmatch(size) for size in value):
            raise ValueError("must name each tile by its size of 1 to 9999 px")
        return value


def read_card_file(path: Path, values: object) -> CardFile:
    """The card in *values*, the JSON of *path*. Raises ``ModelError``: file, field, rule, value."""
    try:
        return CardFile.model_validate(values)
    except ValidationError as err:
        raise ModelError(f"model file {path}: {sentence(err, whole='card')}") from err
