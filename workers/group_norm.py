"""GroupNorm statistics: measured on parts of a canvas as if they were one, and frozen.

GroupNorm averages over everything it sees, so a part decoded alone has another tone than its
neighbour. Every part is normalised with the same statistics instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Statistics = NDArray[np.float32]
"""``(layers, 2, groups)``: mean and variance of each GroupNorm of a network, in its order."""

Normalise = Callable[[Tensor], Tensor]


def merge(counts: Tensor, means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of disjoint parts taken together; ``(parts, groups)`` to ``(groups,)``.

    Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances" (1979): the mean of the parts' variances lacks the variance of their means.
    Variances are those of populations, as in GroupNorm.
    """
    share = (counts / counts.sum())[:, None]
    mean = (share * means).sum(0)
    return mean, (share * (variances + (means - mean) ** 2)).sum(0)


class Survey:
    """What a network's GroupNorms see while parts of one picture go through it in batches.

    The members of a batch are normalised together, not each alone: deeper layers then see what
    they would see in the whole picture.
    """

    def __init__(self, network: nn.Module, rim: float = 0.0) -> None:
        self._norms = list(_norms(network))
        self._found: dict[nn.Module, Tensor] = {}
        self.rim = rim
        """Share of a part's width on every side that is not measured: it sees the part's edge."""

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure whatever goes through the network meanwhile."""
        with _replaced(self._norms, [self._measure(norm) for norm in self._norms]):
            yield

    def statistics(self) -> Statistics:
        """Of every layer the last batch it has seen."""
        return torch.stack([self._found[norm] for norm in self._norms]).cpu().numpy()

    def _measure(self, norm: nn.GroupNorm) -> Normalise:
        def normalise(signal: Tensor) -> Tensor:
            found = _batch_statistics(self._inside(signal), norm.num_groups)
            mean, variance = (value.to(signal.dtype) for value in found)
            self._found[norm] = torch.stack([mean, variance])
            return _affine(norm, mean, variance)(signal)

        return normalise

    def _inside(self, signal: Tensor) -> Tensor:
        rim = round(self.rim * signal.shape[-1])
        if rim == 0 or signal.dim() < 4:  # attention normalises pixels in a row
            return signal
        return signal[:, :, rim:-rim, rim:-rim]


@contextmanager
def frozen(network: nn.Module, statistics: Statistics | None) -> Iterator[None]:
    """Let every GroupNorm of *network* use *statistics* instead of its own input's."""
    norms = list(_norms(network)) if statistics is not None else []
    pairs = zip(norms, () if statistics is None else statistics, strict=True)
    with _replaced(norms, [_affine(norm, *torch.from_numpy(pair)) for norm, pair in pairs]):
        yield


def _batch_statistics(signal: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    parts = signal.reshape(len(signal), groups, -1)
    variances, means = torch.var_mean(parts, dim=2, correction=0)
    counts = torch.full((len(parts),), parts.shape[2], dtype=torch.float64, device=parts.device)
    return merge(counts, means.double(), variances.double())


def _affine(norm: nn.GroupNorm, mean: Tensor, variance: Tensor) -> Normalise:
    per_group, place = norm.num_channels // norm.num_groups, norm.weight.device
    deviation = torch.sqrt(variance.to(place).repeat_interleave(per_group) + norm.eps)
    scale = norm.weight / deviation
    shift = norm.bias - mean.to(place).repeat_interleave(per_group) * scale

    def normalise(signal: Tensor) -> Tensor:
        shape = (1, -1) + (1,) * (signal.dim() - 2)
        return torch.addcmul(shift.view(shape), signal, scale.view(shape))

    return normalise


@contextmanager
def _replaced(norms: list[nn.GroupNorm], forwards: list[Normalise]) -> Iterator[None]:
    for norm, forward in zip(norms, forwards, strict=True):
        norm.forward = forward  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _norms(network: nn.Module) -> Iterator[nn.GroupNorm]:
    return (part for part in network.modules() if isinstance(part, nn.GroupNorm))
