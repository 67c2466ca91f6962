"""A prompt as a network reads it; encoded once for a job, then shared by its tiles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from app.domain.errors import CorruptBlobError


@dataclass(frozen=True, slots=True)
class Conditioning:
    """Text embeddings: row 0 the negative prompt, row 1 the prompt."""

    text: Tensor
    """``(rows, tokens, features)``, one vector for each token."""
    pooled: Tensor | None = None
    """``(rows, features)``, one vector for the whole prompt, where the family has it."""

    def without_negative(self) -> Conditioning:
        return Conditioning(self.text[1:], None if self.pooled is None else self.pooled[1:])

    def repeated(self, windows: int) -> Conditioning:
        """Every row once for each of so many windows, as ``Model.predict`` stacks them."""
        pooled = None if self.pooled is None else self.pooled.repeat_interleave(windows, 0)
        return Conditioning(self.text.repeat_interleave(windows, 0), pooled)

    def apart(self) -> list[Conditioning]:
        """Each row by itself."""
        rows = [slice(row, row + 1) for row in range(len(self.text))]
        return [
            Conditioning(self.text[row], None if self.pooled is None else self.pooled[row])
            for row in rows
        ]

    def to(self, device: torch.device, dtype: torch.dtype) -> Conditioning:
        pooled = None if self.pooled is None else self.pooled.to(device, dtype)
        return Conditioning(self.text.to(device, dtype), pooled)

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


def stack(negative: Tensor, prompt: Tensor, *pooled: Tensor) -> Conditioning:
    """The conditioning of what diffusers' ``encode_prompt`` returns, float32 on the CPU.

    *pooled* are the negative prompt's and the prompt's vectors, or nothing.
    """
    text = torch.cat([negative, prompt]).float().cpu()
    return Conditioning(text, torch.cat(pooled).float().cpu() if pooled else None)
