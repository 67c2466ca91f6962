"""Blobs whose bytes change after they were written."""

from __future__ import annotations

from app.storage.memory import MemoryStore


def damage(store: MemoryStore, key: str) -> None:
    """Flip the first bit of the blob, and leave its checksum as it was."""
    data, digest = store._blobs[key]
    store._blobs[key] = bytes([data[0] ^ 1]) + data[1:], digest
