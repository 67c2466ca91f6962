import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from workers.group_norm import Survey, frozen, merge

GROUPS = 2


def field(height, width, seed=0):
    """Noise on a ramp: parts of it have other means, ``(1, 4, H, W)`` float64."""
    noise = np.random.default_rng(seed).standard_normal((1, 4, height, width))
    return torch.from_numpy(noise + np.linspace(-3, 3, width))


def parts_of(signal, edges):
    """Counts, means and variances of the columns between *edges*, by part and group."""
    pieces = [
        signal[..., left:right].reshape(GROUPS, -1)
        for left, right in zip([0, *edges], [*edges, signal.shape[-1]], strict=True)
    ]
    return (
        torch.tensor([piece.shape[1] for piece in pieces], dtype=torch.float64),
        torch.stack([piece.mean(1) for piece in pieces]),
        torch.stack([piece.var(1, correction=0) for piece in pieces]),
    )


@given(
    edges=st.lists(st.integers(1, 39), min_size=1, max_size=6, unique=True).map(sorted),
    seed=st.integers(0, 9),
)
@settings(max_examples=30)
def test_merged_parts_normalise_like_torch_on_the_whole(edges, seed):
    signal = field(24, 40, seed)
    norm = nn.GroupNorm(GROUPS, 4, eps=0, affine=False).double()

    mean, variance = merge(*parts_of(signal, edges))

    grouped = signal.reshape(1, GROUPS, 2, 24, 40)
    ours = (grouped - mean.view(1, -1, 1, 1, 1)) / variance.view(1, -1, 1, 1, 1).sqrt()
    torch.testing.assert_close(ours.reshape_as(signal), norm(signal), rtol=0, atol=1e-12)


def test_the_mean_of_the_parts_variances_is_not_the_variance():
    counts, means, variances = parts_of(field(24, 40), [10, 20, 30])

    _, merged = merge(counts, means, variances)

    assert (variances.mean(0) / merged < 0.4).all()


class Chain(nn.Module):
    """Two normalisations with a bend between them: the second depends on the first."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.GroupNorm(GROUPS, 4), nn.GroupNorm(GROUPS, 4)

    def forward(self, signal):
        return self.second(torch.relu(self.first(signal)))


@pytest.fixture
def chain():
    torch.manual_seed(0)
    chain = Chain().double()
    for parameter in chain.parameters():
        nn.init.normal_(parameter)
    return chain.requires_grad_(False)


def surveyed(chain, batch, rim=0.0):
    survey = Survey(chain)
    survey.rim = rim
    with survey.measuring():
        output = chain(batch)
    return survey.statistics(), output


def test_a_batch_of_parts_is_normalised_as_the_picture_it_was_cut_from(chain):
    whole = field(16, 32)
    batch = torch.cat(whole.chunk(4, dim=3))

    statistics, output = surveyed(chain, batch)

    torch.testing.assert_close(torch.cat(output.chunk(4), dim=3), chain(whole), atol=1e-12, rtol=0)
    assert statistics.shape == (2, 2, GROUPS)


def test_statistics_of_a_picture_frozen_change_nothing(chain):
    whole = field(16, 32)
    statistics, _ = surveyed(chain, whole)

    with frozen(chain, statistics):
        again = chain(whole)

    torch.testing.assert_close(again, chain(whole), atol=1e-12, rtol=0)


def test_a_rim_is_seen_by_the_network_and_not_measured(chain):
    inside = field(16, 16)
    framed = torch.nn.functional.pad(inside, (4, 4, 4, 4), value=1000.0)

    statistics, output = surveyed(chain, framed, rim=4 / 24)

    np.testing.assert_allclose(statistics[0], surveyed(chain, inside)[0][0], atol=1e-12)
    assert output.shape == framed.shape


def test_freezing_and_measuring_end_with_the_block(chain):
    whole = field(16, 32)
    plain = chain(whole)

    surveyed(chain, whole)
    with frozen(chain, np.ones((2, 2, GROUPS))):
        pass

    torch.testing.assert_close(chain(whole), plain, atol=0, rtol=0)


def test_without_statistics_nothing_is_frozen(chain):
    whole = field(16, 32)

    with frozen(chain, None):
        output = chain(whole)

    torch.testing.assert_close(output, chain(whole), atol=0, rtol=0)


def test_statistics_of_another_network_are_refused(chain):
    with pytest.raises(ValueError, match="shorter"), frozen(chain, np.ones((1, 2, GROUPS))):
        pass
