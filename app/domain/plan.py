"""The plan of a render: everything that may change a pixel, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from app.domain.geometry import Box
from app.domain.grid import Grid
from app.domain.schedule import Steps
from app.domain.spec import RenderSpec

PLAN_VERSION = 4  # part of every hash: raise it when the same plan would give other pixels


@dataclass(frozen=True, slots=True)
class Base:
    """A picture of native size with the canvas's aspect; ``(height, width)`` in latents."""

    height: int
    width: int
    steps: Steps


class Merge(StrEnum):
    """What the tiles of a phase are merged in."""

    STATE = "state"
    """The latents as they are: right after one step, at the end, and where nothing is averaged."""
    CLEAN = "clean"
    """The clean prediction and the noise apart: averaging noise that diverged over several
    steps would lose its variance, which shows as blur."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Tiles denoised independently over *steps*, then merged; lengths in latents."""

    grid: Grid
    steps: Steps
    merge: Merge = Merge.STATE
    only: tuple[int, ...] | None = None
    """The tiles that are denoised where a part is painted anew; otherwise all are."""

    @property
    def indices(self) -> Sequence[int]:
        """The tiles that are denoised, in row-major order."""
        return range(len(self.grid)) if self.only is None else self.only

    @property
    def tiles(self) -> tuple[Box, ...]:
        return self.grid.tiles

    @property
    def end_sigma(self) -> float:
        """The noise left in the canvas after this phase."""
        return self.steps.sigmas[-1]

    @property
    def splits_noise(self) -> bool:
        """A tile stores its clean prediction and its noise, to be merged apart."""
        return self.merge is Merge.CLEAN


@dataclass(frozen=True, slots=True)
class Overview:
    """What is seen of a whole canvas that goes through an autoencoder in cores. In latents."""

    windows: tuple[Box, ...]
    """Equal windows that the statistics of normalisation are measured on; none for one core."""
    rim: int
    """What of a window is not measured on every side, because it sees the window's edge."""
    head: bool
    """The middle block sees the whole canvas, once; otherwise every core its own part."""

    @property
    def freezes_statistics(self) -> bool:
        """Cores are normalised alike: each by its own statistics would change the tone."""
        return bool(self.windows)


@dataclass(frozen=True, slots=True)
class Decode(Overview):
    """How a finished canvas becomes pixels; see :mod:`app.domain.decoding`. In latents."""

    cores: tuple[Box, ...]
    """They partition the canvas; each is decoded by itself."""
    padding: int
    """What a core needs around it to come out as in the whole canvas."""
    anchors_colours: bool
    """Low frequencies are taken from the picture that tiles started from."""
    painted: tuple[int, ...] | None = None
    """The cores that are decoded where a part is painted anew; otherwise all are."""

    @property
    def indices(self) -> Sequence[int]:
        """The cores that are decoded, in row-major order."""
        return range(len(self.cores)) if self.painted is None else self.painted


@dataclass(frozen=True, slots=True)
class Cost:
    """Work a plan asks for, in units that do not depend on the machine."""

    tiles: int
    cores: int
    unet_evaluations: int
    denoised_mpx: float
    """Megapixels of canvas pushed through the UNet, counting each evaluation."""
    decoded_mpx: float
    overlap_overhead: float
    """Area of all tiles over the area of the canvas."""
    blob_bytes: int
    """Bytes of latents and pixels written to the store, before compression."""


@dataclass(frozen=True)
class RenderPlan:
    """A pure function of request and model card; see :func:`app.domain.planner.plan_render`."""

    spec: RenderSpec
    revisions: dict[str, str]
    """Model or upscaler name -> revision of its weights."""
    canvas_height: int
    canvas_width: int
    """The diffusion canvas in latents; it may exceed the picture by less than one latent."""
    latent_scale: int
    latent_channels: int
    encoder_padding: int
    """Pixels that a core of the picture tiles start from needs around it to be encoded, as far as
    the encoder's middle block where the canvas has a head."""
    base: Base | None
    phases: tuple[Phase, ...]
    decode: Decode
    cost: Cost
    encode: Overview | None = None
    """How the picture that tiles start from becomes latents, where there is one to encode."""
    version: int = PLAN_VERSION
    run: str = ""
    """Keeps the blobs of a render that is done again apart; decides no pixel and no file byte."""

    def to_json(self) -> bytes:
        """Canonical form: sorted keys, no spaces, no NaN. Equal plans are equal bytes."""
        return canonical_json(self._record())

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical form, hexadecimal."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @cached_property
    def series(self) -> str:
        """SHA-256 of what decides the latents and cores of an image, beside its number.

        Orders that differ in nothing but the count of pictures, their file format, their tags and
        whether they have a pyramid have the same series, and share every blob but the files.
        """
        record = self._record()
        del record["cost"]  # of all pictures together
        for name in ("count", "format", "tags", "pyramid"):
            record["spec"].pop(name, None)
        return hashlib.sha256(canonical_json(record)).hexdigest()

    @property
    def order_hash(self) -> str:
        """The hash of the same order where it is not kept apart: what its file tells."""
        return replace(self, run="").hash if self.run else self.hash

    def _record(self) -> dict[str, Any]:
        record = asdict(self)
        # Plans had none of these before, and keep their hashes.
        if not self.run:
            del record["run"]
        if self.encode is None:
            del record["encode"]
        for name in ("init_fit", "restore", "depth"):
            if record["spec"][name] is None:
                del record["spec"][name]
        if not self.spec.pyramid:
            del record["spec"]["pyramid"]
        return record

    @property
    def starts_from_picture(self) -> bool:
        """Tiles start from latents of a picture, the base or a given one, not from noise alone."""
        return self.base is not None or self.spec.starts_from_given

    @property
    def is_edit(self) -> bool:
        """A part of a picture is painted anew, see :mod:`app.domain.editing`."""
        return self.decode.painted is not None

    @property
    def canvas(self) -> Box:
        return Box(0, 0, self.canvas_height, self.canvas_width)

    @property
    def reach(self) -> Box:
        """How far a box may be padded: one lap further on the axes that wrap."""
        rows = self.canvas_height if self.spec.wrap.rows else 0
        columns = self.canvas_width if self.spec.wrap.columns else 0
        return Box(-rows, -columns, self.canvas_height + rows, self.canvas_width + columns)

    @property
    def picture(self) -> Box:
        """The finished picture, in pixels."""
        return Box(0, 0, self.spec.height, self.spec.width)

    def core_pixels(self, index: int) -> Box:
        """Where core *index* lies in the finished picture, in pixels."""
        box = self.decode.cores[index].scaled(self.latent_scale * self.spec.upscale)
        return box.padded(0, within=self.picture)


def canonical_json(value: object) -> bytes:
    """JSON bytes that depend on nothing but *value*."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()
