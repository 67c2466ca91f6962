"""What a picture is looked at by: its thumbnail, in the store beside it."""

from __future__ import annotations

from pathlib import Path

from app.domain.plan import RenderPlan
from app.domain.work import picture_key
from app.pictures.views import thumbnail
from app.storage.port import BlobStore


def store_thumbnail(
    store: BlobStore, plan: RenderPlan, image: int, picture: Path
) -> dict[str, object]:
    """Store the thumbnail of the finished file *picture*; what the picture's record tells of it."""
    key, small = picture_key(plan, image, "thumbnail.jpg"), thumbnail(picture)
    store.put(key, small.data)
    return {"key": key, "height": small.height, "width": small.width}
