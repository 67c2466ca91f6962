"""Blobs in this process's memory: for tests and experiments."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from threading import Lock

from app.domain.errors import CorruptBlobError, NotFoundError
from app.storage.keys import check_key, check_prefix, media_type
from app.storage.pieces import pieces
from app.storage.port import BlobStat
from app.storage.probe import probe_writes_once


class MemoryStore:
    """A ``BlobStore`` that forgets everything when the process ends."""

    def __init__(self) -> None:
        self._blobs: dict[str, tuple[bytes, bytes]] = {}
        self._modified_s: dict[str, float] = {}
        self._lock = Lock()

    def put(self, key: str, data: bytes) -> bool:
        check_key(key)
        blob = bytes(data), sha256(data).digest()
        with self._lock:
            is_first = self._blobs.setdefault(key, blob) is blob
            if is_first:
                self._modified_s[key] = time.time()
        return is_first

    def put_file(self, key: str, path: Path) -> bool:
        return self.put(key, path.read_bytes())

    def get(self, key: str) -> bytes:
        try:
            data, digest = self._blobs[check_key(key)]
        except KeyError:
            raise NotFoundError(f"blob {key} does not exist in memory") from None
        if sha256(data).digest() != digest:
            raise CorruptBlobError(f"blob {key} in memory does not match its SHA-256")
        return data

    def stream(self, key: str) -> Iterator[bytes]:
        yield from pieces(io.BytesIO(self.get(key)))

    def exists(self, key: str) -> bool:
        return check_key(key) in self._blobs

    def keys(self, prefix: str) -> Iterator[str]:
        check_prefix(prefix)
        with self._lock:
            names = sorted(name for name in self._blobs if name.startswith(prefix))
        return iter(names)

    def stat(self, prefix: str) -> Iterator[BlobStat]:
        check_prefix(prefix)
        with self._lock:
            stats = [
                BlobStat(name, len(blob[0]), self._modified_s[name])
                for name, blob in self._blobs.items()
                if name.startswith(prefix)
            ]
        return iter(stats)

    def delete(self, key: str) -> None:
        with self._lock:
            self._blobs.pop(check_key(key), None)
            self._modified_s.pop(key, None)

    def url(self, key: str) -> str:
        """A ``data:`` URL: memory has no address another program could open."""
        return f"data:{media_type(key)};base64,{base64.b64encode(self.get(key)).decode()}"

    def probe(self) -> None:
        probe_writes_once(self, name="memory")
