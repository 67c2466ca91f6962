"""What tilechord asks of a blob store; the adapters are its neighbours in this folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BlobStat:
    """What a listing tells of a blob without reading it."""

    key: str
    size_bytes: int
    modified_s: float
    """When it was written, in seconds since the epoch by the store's clock."""


class BlobStore(Protocol):
    """Write-once blobs by key.

    A key is a relative path of ``[a-z0-9._-]`` segments joined by ``/``. The first writer of
    a key wins, for every later writer the call is a no-op: redelivery is normal.
    Every blob carries its SHA-256; a read that does not match raises ``CorruptBlobError``.
    An unreachable store raises ``StorageUnavailableError``, a full one ``StorageFullError``,
    wrong credentials ``ConfigurationError``.
    """

    def put(self, key: str, data: bytes) -> bool:
        """Store *data*; readers see all of it or nothing. True when this call was the winner."""

    def put_file(self, key: str, path: Path) -> bool:
        """Like ``put`` with the bytes of the file at *path*, in bounded memory."""

    def get(self, key: str) -> bytes:
        """The blob's bytes, verified. Raises ``NotFoundError`` when there is none."""

    def stream(self, key: str) -> Iterator[bytes]:
        """Like ``get`` in pieces of at most 1 MiB, for blobs that may not fit into memory.

        What does not match its SHA-256 is told after the last piece: trust none before the end.
        """

    def exists(self, key: str) -> bool: ...

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys that start with *prefix*, in sorted order."""

    def stat(self, prefix: str) -> Iterator[BlobStat]:
        """Size and age of every blob whose key starts with *prefix*, in no promised order.

        Read as it goes, for stores of any size: blobs that come or go meanwhile may be told or not.
        """

    def delete(self, key: str) -> None:
        """Remove the blob; nothing happens when there is none."""

    def url(self, key: str) -> str:
        """Where a person or program can fetch the blob: ``file://`` or a presigned ``https://``."""

    def probe(self) -> None:
        """Check once, before work is taken, that the store is reachable and writes once."""
