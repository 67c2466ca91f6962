"""Blobs in pieces, so that a copy takes little memory however large the blob."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

PIECE_BYTES = 1 << 20  # larger pieces copy no faster


class Readable(Protocol):
    def read(self, amount: int, /) -> bytes: ...


def pieces(source: Readable) -> Iterator[bytes]:
    """What is left of *source*, at most ``PIECE_BYTES`` at a time."""
    while piece := source.read(PIECE_BYTES):
        yield piece
