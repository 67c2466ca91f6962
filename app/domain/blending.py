"""Merging overlapping tiles into one canvas, the same for every order of arrival."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain.errors import RenderFailedError
from app.domain.geometry import Box, Part
from app.domain.plan import Phase

Latents = NDArray[np.float32]


class Accumulator:
    """Weighted mean of tiles inside one box of the canvas, summed in float64.

    Add tiles in index order: float64 sums of float32 tiles then agree to the last bit
    whatever order they were rendered in.
    """

    def __init__(self, channels: int, box: Box) -> None:
        self._box = box
        self._sum = np.zeros((channels, box.height, box.width), np.float64)
        self._square = np.zeros_like(self._sum)
        self._weight = np.zeros((box.height, box.width), np.float64)
        self._weight_square = np.zeros_like(self._weight)
        self._covers = np.zeros((box.height, box.width), np.uint16)

    def add(self, tile: Latents, box: Box, weight: NDArray[np.float64]) -> None:
        """Add the part of *tile* ``(C, h, w)`` at *box* that lies inside, *weight* ``(h, w)``.

        Raises ``RenderFailedError`` when the tile holds NaN or infinity: one such value would
        otherwise spread over every neighbour.
        """
        if not np.isfinite(tile).all():
            raise RenderFailedError(f"tile at row {box.top}, column {box.left} is not finite")
        shared = box.intersection(self._box)
        if shared is None:
            return
        here = shared.relative_to(self._box).window
        there = shared.relative_to(box).window
        part, share = tile[(slice(None), *there)].astype(np.float64), weight[there]
        self._sum[(slice(None), *here)] += part * share
        self._square[(slice(None), *here)] += part**2 * share
        self._weight[here] += share
        self._weight_square[here] += share**2
        self._covers[here] += share > 0

    def result(self) -> NDArray[np.float64]:
        """The merged box, ``(C, H, W)``. Raises ``RenderFailedError`` on an uncovered pixel."""
        if (self._weight <= 0).any():
            raise RenderFailedError("the canvas has pixels that no tile covers")
        return self._sum / self._weight

    def noise_result(self, correlation: float) -> NDArray[np.float64]:
        """The merged box of tiles that hold noise, at the variance of one tile.

        The mean of *n* noises has less variance than each, unless they are the same; what blurs
        MultiDiffusion. Noises of unit variance whose *correlation* is rho average, under weights
        w that sum to one, to the variance ``sum w^2 + rho (1 - sum w^2)``.
        """
        squares = self._weight_square / self._weight**2
        return self.result() / np.sqrt(squares + correlation * (1.0 - squares))

    def correlation(self) -> float:
        """Of what tiles say of the latents they share; 1 when all agree or nothing overlaps."""
        mean, power = self._sum / self._weight, self._square / self._weight
        shared = 1.0 - self._weight_square / self._weight**2
        expected = float((power * shared).sum())
        apart = float(np.maximum(power - mean**2, 0.0).sum())
        return 1.0 - apart / expected if expected > 0 else 1.0

    def spread(self) -> Spread:
        """How far the tiles added so far are apart."""
        mean = self._sum / self._weight
        variance = np.maximum(self._square / self._weight - mean**2, 0.0)
        shared = variance[:, self._covers > 1]
        return Spread(
            shared_variance=float(shared.sum()),
            shared_count=shared.size,
            total=float(mean.sum()),
            total_square=float((mean**2).sum()),
            count=mean.size,
        )


@dataclass(frozen=True, slots=True)
class Spread:
    """Sums that tell how far overlapping tiles are apart; those of parts of a canvas add up."""

    shared_variance: float = 0.0
    shared_count: int = 0
    total: float = 0.0
    total_square: float = 0.0
    count: int = 0

    def __add__(self, other: Spread) -> Spread:
        return Spread(
            self.shared_variance + other.shared_variance,
            self.shared_count + other.shared_count,
            self.total + other.total,
            self.total_square + other.total_square,
            self.count + other.count,
        )

    def disagreement(self) -> float:
        """RMS deviation of overlapping tiles from their mean, in standard deviations of the
        canvas; 0 when all agree or nothing overlaps.
        """
        if not self.shared_count:
            return 0.0
        variance = self.total_square / self.count - (self.total / self.count) ** 2
        return float(np.sqrt(self.shared_variance / self.shared_count / max(variance, 1e-12)))


class MergedBand:
    """The tiles of one phase merged inside one box of the canvas."""

    def __init__(self, phase: Phase, channels: int, box: Box) -> None:
        self._phase = phase
        self._channels = channels
        self._clean = Accumulator(channels, box)
        self._noise = Accumulator(channels, box) if phase.splits_noise else None
        self._dtype: np.dtype[np.float32] = np.dtype(np.float32)

    def add(self, tile: Latents, weight: NDArray[np.float64], pieces: Iterable[Part]) -> None:
        """Add the *pieces* of one tile: ``(C, h, w)``, or ``(2C, h, w)`` with its noise below."""
        self._dtype = tile.dtype
        for piece in pieces:
            window = piece.in_box.window
            here = (slice(None), *window)
            self._clean.add(tile[: self._channels][here], piece.on_canvas, weight[window])
            if self._noise is not None:
                self._noise.add(tile[self._channels :][here], piece.on_canvas, weight[window])

    def noise_correlation(self) -> float:
        """Of the noises that tiles predict for what they share."""
        return 1.0 if self._noise is None else self._noise.correlation()

    def canvas(self, noise_correlation: float) -> Latents:
        """The canvas latents after the phase, ``(C, H, W)``, at the phase's last sigma."""
        merged = self._clean.result()
        if self._noise is not None:
            merged += self._phase.end_sigma * self._noise.noise_result(noise_correlation)
        return merged.astype(self._dtype)

    def spread(self) -> Spread:
        """How far the tiles' pictures are apart."""
        return self._clean.spread()
