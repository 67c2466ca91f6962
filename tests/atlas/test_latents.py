"""Which windows the denoiser trains on."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from workers.models.atlas_training.latents import LatentSet, ragged_half
from workers.models.atlas_training.surface import SUBJECTS

SIZE = 16


def crops(*halves: tuple[str, str]) -> LatentSet:
    """A crop for each pair of subjects, west and east; latents are the number of the subject."""
    shares = np.zeros((len(halves), 32, 32, len(SUBJECTS)), np.uint8)
    latents = torch.zeros(len(halves), 1, 32, 32)
    for index, half in enumerate(halves):
        for subject, columns in zip(half, (slice(0, 16), slice(16, 32)), strict=True):
            shares[index, :, columns, SUBJECTS.index(subject)] = 255
            latents[index, 0, :, columns] = SUBJECTS.index(subject)
    return LatentSet(latents, shares)


def area(caption_side: str) -> tuple[slice, slice]:
    """The half of a window that is *caption_side*."""
    half, rest = slice(0, SIZE // 2), slice(SIZE // 2, SIZE)
    return {
        "north": (half, slice(None)),
        "south": (rest, slice(None)),
        "west": (slice(None), half),
        "east": (slice(None), rest),
    }[caption_side]


def halves_of(mask: npt.NDArray[np.float32]) -> dict[str, float]:
    """How much of each half of *mask* is set."""
    return {side: float(mask[area(side)].mean()) for side in ("north", "south", "west", "east")}


def test_batch_has_windows_of_the_size_asked_and_a_caption_for_each() -> None:
    windows, captions = crops(("snow", "forest")).batch(
        np.random.default_rng(0), count=5, size=SIZE
    )

    assert windows.shape == (5, 1, SIZE, SIZE)
    assert windows.dtype == torch.float32
    assert len(captions) == 5


def test_ragged_half_covers_one_side_and_every_side_in_turn() -> None:
    rng = np.random.default_rng(0)

    covered = [halves_of(ragged_half(rng, SIZE)) for _ in range(40)]

    assert {max(half, key=half.__getitem__) for half in covered} == set(covered[0])
    assert all(max(half.values()) > 0.7 for half in covered)


def test_border_of_a_ragged_half_wanders() -> None:
    half = ragged_half(np.random.default_rng(1), SIZE)

    counts = sorted((half.sum(axis=0).std(), half.sum(axis=1).std()))

    assert counts[0] > 0.2


def test_subjects_that_never_meet_are_put_together() -> None:
    apart = crops(("snow", "snow"), ("forest", "forest"))

    windows, captions = apart.batch(np.random.default_rng(0), count=100, size=SIZE)

    both = [
        {SUBJECTS.index("snow"), SUBJECTS.index("forest")} <= set(window.unique().tolist())
        for window in windows
    ]
    assert 0.03 < np.mean(both) < 0.3
    assert any("in the north" in caption for caption in captions)


@pytest.mark.parametrize(("side", "other"), [("west", "east"), ("east", "west")], ids=str)
def test_captions_of_windows_agree_with_their_latents(side: str, other: str) -> None:
    snow = SUBJECTS.index("snow")
    windows, captions = crops(("snow", "forest"), ("forest", "snow")).batch(
        np.random.default_rng(0), count=600, size=SIZE
    )

    told = [
        ((window[0] - snow).abs() < 0.5).float().numpy()
        for window, caption in zip(windows, captions, strict=True)
        if f"snow in the {side}" in caption
    ]

    assert len(told) >= 5
    assert all(mask[area(side)].sum() > mask[area(other)].sum() for mask in told)
