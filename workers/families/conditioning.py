"""Prompts as a network reads them; encoded once for a job, then shared by its tiles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from app.domain.errors import CorruptBlobError


@dataclass(frozen=True, slots=True)
class Conditioning:
    """Text embeddings in pairs of rows: a negative prompt, then its prompt."""

    text: Tensor
    """``(rows, tokens, features)``, one vector for each token."""
    pooled: Tensor | None = None
    """``(rows, features)``, one vector for the whole prompt, where the family has it."""

    def prompt(self, number: int) -> Conditioning:
        """The two rows of prompt *number*."""
        return self._rows(slice(2 * number, 2 * number + 2))

    def without_negative(self) -> Conditioning:
        return self._rows(slice(1, None, 2))

    def to(self, device: torch.device, dtype: torch.dtype) -> Conditioning:
        pooled = None if self.pooled is None else self.pooled.to(device, dtype)
        return Conditioning(self.text.to(device, dtype), pooled)

    def _rows(self, rows: slice) -> Conditioning:
        return Conditioning(self.text[rows], None if self.pooled is None else self.pooled[rows])

    def to_bytes(self) -> bytes:
        """Safetensors bytes; equal conditionings give equal bytes."""
        arrays = {"text": self.text} | ({} if self.pooled is None else {"pooled": self.pooled})
        return save({name: array.contiguous() for name, array in arrays.items()})

    @classmethod
    def from_bytes(cls, blob: bytes) -> Conditioning:
        """The conditioning of ``to_bytes``. Raises ``CorruptBlobError`` for anything else."""
        try:
            arrays = load(blob)
            return cls(arrays.pop("text"), arrays.pop("pooled", None))
        except (SafetensorError, KeyError) as err:
            raise CorruptBlobError(
                f"a prompt blob must be safetensors with text, got {len(blob)} B"
            ) from err


def stack(parts: list[Conditioning]) -> Conditioning:
    """All rows of *parts*, float32 on the CPU."""
    pooled = [part.pooled for part in parts if part.pooled is not None]
    return Conditioning(
        torch.cat([part.text for part in parts]).float().cpu(),
        torch.cat(pooled).float().cpu() if pooled else None,
    )
