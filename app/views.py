"""What a picture is looked at by, in the store beside it: its thumbnail, its pyramid."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.domain.plan import RenderPlan
from app.domain.work import picture_key
from app.pictures.views import thumbnail, write_pyramid
from app.storage.port import BlobStore

_WRITERS = 8
"""A large picture has thousands of tiles, and a bucket answers each after milliseconds."""


def store_views(store: BlobStore, plan: RenderPlan, image: int, picture: Path) -> dict[str, object]:
    """Store what the order wants of the finished file *picture*; what its record tells of it."""
    views: dict[str, object] = {"thumbnail": _store_thumbnail(store, plan, image, picture)}
    if plan.spec.pyramid:
        views["pyramid"] = _store_pyramid(store, plan, image, picture)
    return views


def _store_thumbnail(
    store: BlobStore, plan: RenderPlan, image: int, picture: Path
) -> dict[str, object]:
    key, small = picture_key(plan, image, "thumbnail.jpg"), thumbnail(picture)
    store.put(key, small.data)
    return {"key": key, "height": small.height, "width": small.width}


def _store_pyramid(
    store: BlobStore, plan: RenderPlan, image: int, picture: Path
) -> dict[str, object]:
    description, tiles = write_pyramid(picture)

    def put(path: Path) -> str:
        key = picture_key(plan, image, path.relative_to(picture.parent).as_posix())
        store.put_file(key, path)
        return key

    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(put, tiles))
    # After its tiles: whoever finds the description finds all of them.
    return {"key": put(description), "tiles": len(tiles)}
