"""What a job results in."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel

from app.domain.spec import PictureFormat
from app.schemas.parts import RegionBox


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

    def locate(self, url: Callable[[str], str]) -> None:
        """Give the picture and its thumbnail the URLs that *url* makes of their keys."""
        self.url = url(self.key)
        if self.thumbnail:
            self.thumbnail.url = url(self.thumbnail.key)


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
    """Seconds of work by stage, summed over workers, the loading of models included;
    ``workers_wall`` is the time from the first unit's start to the last one's end,
    ``round_latency`` the mean time from a phase's last tile to the first unit after it."""
    workers: dict[str, WorkerShare]
    executions: int
    """How often units were executed; more than ``units`` means some ran twice."""
    units: int
    cached: bool = False
    lineage: Lineage | None = None
