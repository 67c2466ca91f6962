"""A blob store that counts the bytes passing through it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from app.storage.port import BlobStat, BlobStore
from app.telemetry.metrics import BLOB_READ_BYTES, BLOB_WRITTEN_BYTES


class MeteredStore:
    """A ``BlobStore`` in front of *inner*; a write that lost to an earlier one counts nothing."""

    def __init__(self, inner: BlobStore) -> None:
        self._inner = inner

    def put(self, key: str, data: bytes) -> bool:
        is_first = self._inner.put(key, data)
        if is_first:
            BLOB_WRITTEN_BYTES.inc(len(data))
        return is_first

    def put_file(self, key: str, path: Path) -> bool:
        is_first = self._inner.put_file(key, path)
        if is_first:
            BLOB_WRITTEN_BYTES.inc(path.stat().st_size)
        return is_first

    def get(self, key: str) -> bytes:
        data = self._inner.get(key)
        BLOB_READ_BYTES.inc(len(data))
        return data

    def stream(self, key: str) -> Iterator[bytes]:
        for piece in self._inner.stream(key):
            BLOB_READ_BYTES.inc(len(piece))
            yield piece

    def exists(self, key: str) -> bool:
        return self._inner.exists(key)

    def keys(self, prefix: str) -> Iterator[str]:
        return self._inner.keys(prefix)

    def stat(self, prefix: str) -> Iterator[BlobStat]:
        return self._inner.stat(prefix)

    def delete(self, key: str) -> None:
        self._inner.delete(key)

    def url(self, key: str) -> str:
        return self._inner.url(key)

    def probe(self) -> None:
        self._inner.probe()
