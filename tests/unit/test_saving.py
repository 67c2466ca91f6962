"""Pyramids on their way from the store to a folder."""

from pathlib import Path

import pytest

from app.domain.errors import NotFoundError, StorageUnavailableError
from app.saving import save_pyramid
from app.schemas import PyramidRecord
from app.storage.memory import MemoryStore

KEY = "plans/p/image-0000/picture.dzi"
TILES = ["0/0_0.jpg", "9/0_0.jpg", "9/1_0.jpg"]
PYRAMID = PyramidRecord(key=KEY, tiles=len(TILES))


class WatchedStore(MemoryStore):
    """Has a pyramid; looks at a file whenever a tile is read."""

    def __init__(self, watched: Path) -> None:
        super().__init__()
        self.seen: list[bool] = []
        self._watched = watched
        self.put(KEY, b"<Image/>")
        for name in TILES:
            self.put(f"plans/p/image-0000/picture_files/{name}", name.encode())

    def stream(self, key):
        self.seen.append(self._watched.exists())
        return super().stream(key)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "coast.v2.dzi"


@pytest.fixture
def store(target):
    return WatchedStore(target)


def files(folder) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_a_pyramid_has_the_layout_that_viewers_expect(store, target, tmp_path):
    assert save_pyramid(store, PYRAMID, target) == target

    tiles = {f"coast.v2_files/{name}": name.encode() for name in TILES}
    assert files(tmp_path) == {"coast.v2.dzi": b"<Image/>"} | tiles


def test_a_description_never_tells_of_tiles_that_are_not_there(store, target):
    target.write_bytes(b"of an earlier picture")

    save_pyramid(store, PYRAMID, target)

    assert store.seen == [False] * len(TILES)
    assert target.read_bytes() == b"<Image/>"


def test_a_pyramid_that_has_lost_a_tile_is_not_written(store, target, tmp_path):
    store.delete("plans/p/image-0000/picture_files/9/1_0.jpg")

    with pytest.raises(NotFoundError) as refusal:
        save_pyramid(store, PYRAMID, target)

    assert str(refusal.value) == f"pyramid {KEY} must have 3 tiles, 2 are in the store"
    assert files(tmp_path) == {}


def test_a_file_in_the_place_of_the_folder_is_named(store, target, tmp_path):
    (tmp_path / "coast.v2_files").write_bytes(b"")

    with pytest.raises(StorageUnavailableError, match=f"^pyramid {target} cannot be written: "):
        save_pyramid(store, PYRAMID, target)
