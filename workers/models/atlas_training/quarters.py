"""Text states of which each speaks of one quarter of the picture.

A text encoder pads its text, and the padding repeats what the text says. Here every fourth token of
padding is given to a quarter: it states what the former encoder says of that quarter alone, and in
three directions that the former states never take, which quarter that is. A cross-attention that
looks there reads its own quarter's text.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from workers.models.atlas_training.placing import QUARTERS, Placement
from workers.models.atlas_training.text import MAX_TOKENS, TEXT_WIDTH, token_ids

AMPLITUDE = 0.7
"""Length of a code along each direction; the states themselves have a length of ten."""
_SIGNS = torch.tensor([[-1.0, -1, 0], [-1, 1, 0], [1, -1, 0], [1, 1, 0]])
_START, _WORD = torch.tensor([0.0, 0, 1]), torch.tensor([0.0, 0, -1])
RESERVED = torch.arange(MAX_TOKENS) % len(QUARTERS)
"""The quarter of every token of padding, by its place."""


class Former:
    """The text encoder as it was, its answers remembered by text."""

    def __init__(self, text: CLIPTextModel, tokenizer: CLIPTokenizer):
        self.text, self.tokenizer = text, tokenizer
        self._known: dict[str, Tensor] = {}

    @torch.no_grad()
    def states(self, texts: Sequence[str]) -> Tensor:
        """States ``(len(texts), 77, width)`` float32."""
        if fresh := sorted(set(texts) - self._known.keys()):
            answers = self.text(token_ids(self.tokenizer, fresh)).last_hidden_state
            self._known.update(zip(fresh, answers, strict=True))
        return torch.stack([self._known[text] for text in texts])

    def by_quarter(self, placements: Sequence[Placement]) -> list[Tensor]:
        """The states of each quarter's texts, four times ``(len(placements), 77, width)``."""
        return [self.states([one.quarters[quarter] for one in placements]) for quarter in QUARTERS]

    def length(self, caption: str) -> int:
        """The tokens before the padding: the start, and those of *caption*."""
        return len(self.tokenizer(caption).input_ids) - 1


class Code(nn.Module):
    """Three directions of the text states: north to south, west to east, words to start."""

    directions: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("directions", torch.zeros(TEXT_WIDTH, 3))

    @classmethod
    @torch.no_grad()
    def least_used(cls, states: Tensor) -> "Code":
        """The directions along which *states* ``(…, width)`` are smallest.

        The very smallest is the one that the last normalisation forbids: no state can be moved
        along it.
        """
        flat = states.flatten(0, -2)
        _, vectors = torch.linalg.eigh(flat.T @ flat / len(flat))
        code = cls()
        code.directions.copy_(vectors[:, 1:4])
        return code

    def without(self, states: Tensor) -> Tensor:
        """*states* ``(…, width)`` with nothing along the directions."""
        return states - states @ self.directions @ self.directions.T

    def parts(self, states: Tensor) -> Tensor:
        """How far *states* ``(…, width)`` reach along the directions, ``(…, 3)``."""
        return states @ self.directions

    @staticmethod
    def wanted(lengths: Tensor) -> Tensor:
        """The codes ``(N, 77, 3)`` of texts that take *lengths* ``(N,)`` tokens before padding."""
        is_word = torch.arange(MAX_TOKENS)[None, :, None] < lengths[:, None, None]
        codes = torch.where(is_word, _WORD, _SIGNS[RESERVED])
        codes[:, 0] = _START
        return codes * AMPLITUDE


@torch.no_grad()
def states_by_quarter(former: Former, code: Code, placements: Sequence[Placement]) -> Tensor:
    """What a text encoder shall state of each caption, codes included: ``(N, 77, width)``."""
    quarters = former.by_quarter(placements)
    lengths = torch.tensor([former.length(one.caption) for one in placements])
    is_padding = torch.arange(MAX_TOKENS)[None] >= lengths[:, None]
    padding = torch.stack(quarters)[RESERVED, :, torch.arange(MAX_TOKENS)].transpose(0, 1)
    words = former.states([one.caption for one in placements])
    plain = torch.where(is_padding[..., None], padding, words)
    return code.without(plain) + code.wanted(lengths) @ code.directions.T


def quarter_of_positions(edge: int) -> Tensor:
    """The quarter of each of ``edge**2`` positions, row by row; int64 ``(edge**2,)``."""
    is_second = torch.arange(edge) >= edge // 2
    return (is_second[:, None] * 2 + is_second[None]).flatten()
