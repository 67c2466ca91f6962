"""Blobs on their way to files: pictures, and pyramids in folders."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.domain.errors import NotFoundError, StorageUnavailableError
from app.schemas import PyramidRecord
from app.storage.port import BlobStat, BlobStore

_READERS = 8
"""As many as write a pyramid, see :mod:`app.views`."""


def save_pyramid(store: BlobStore, pyramid: PyramidRecord, target: Path) -> Path:
    """Write a pyramid: its description to *target*, ``NAME.dzi``, its tiles below ``NAME_files/``.

    The description comes last: it never tells of tiles that are not there. Raises
    ``NotFoundError`` when some are no longer in the store.
    """
    prefix = pyramid.key.removesuffix(".dzi") + "_files/"
    tiles = {blob.key.removeprefix(prefix): blob for blob in store.stat(prefix)}
    if len(tiles) != pyramid.tiles:
        raise NotFoundError(
            f"pyramid {pyramid.key} must have {pyramid.tiles} tiles, {len(tiles)} are in the store"
        )
    folder = target.with_name(f"{target.stem}_files")
    _prepare(target, [folder / name for name in tiles])

    def write(name: str, blob: BlobStat) -> None:
        write_file(folder / name, store.stream(blob.key), size_bytes=blob.size_bytes)

    with ThreadPoolExecutor(_READERS) as pool:
        list(pool.map(write, tiles.keys(), tiles.values()))
    description = store.get(pyramid.key)
    write_file(target, [description], size_bytes=len(description))
    return target


def _prepare(target: Path, tiles: Sequence[Path]) -> None:
    """Make the folders of *tiles*, and forget the pyramid that was there."""
    try:
        target.unlink(missing_ok=True)
        for folder in {tile.parent for tile in tiles}:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise StorageUnavailableError(
            f"pyramid {target} cannot be written: {err.strerror}"
        ) from err


def write_file(path: Path, pieces: Iterable[bytes], *, size_bytes: int) -> None:
    """Make *pieces* appear at *path* in one step, replacing what was there.

    Raises ``StorageUnavailableError`` when they cannot be written, and what *pieces* raise;
    nothing is left behind then.
    """
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        try:
            with temporary.open("xb") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as err:
        raise StorageUnavailableError(
            f"file {path} of {size_bytes} bytes cannot be written: {err.strerror}"
        ) from err
