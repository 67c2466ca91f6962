"""What crosses a boundary: requests from people, messages between processes, results."""

from app.schemas.manifest import (
    Lineage,
    Manifest,
    PictureRecord,
    PyramidRecord,
    ThumbnailRecord,
    WorkerShare,
)
from app.schemas.message import MOST_TOGETHER, WorkMessage, read_plan
from app.schemas.parts import RegionBox, RegionRequest, RerenderRequest
from app.schemas.request import RenderRequest, read_request

__all__ = [
    "MOST_TOGETHER",
    "Lineage",
    "Manifest",
    "PictureRecord",
    "PyramidRecord",
    "RegionBox",
    "RegionRequest",
    "RenderRequest",
    "RerenderRequest",
    "ThumbnailRecord",
    "WorkMessage",
    "WorkerShare",
    "read_plan",
    "read_request",
]
