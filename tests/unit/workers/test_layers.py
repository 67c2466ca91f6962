"""Looks between the layers of a network."""

import pytest
import torch

from tests.support.autoencoders import build_autoencoder
from workers.layers import before_layers


class EndedError(Exception):
    """The job has ended."""


@pytest.fixture(scope="module")
def network():
    return build_autoencoder().decoder


@pytest.fixture(scope="module")
def latents():
    return torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))


def test_a_network_that_is_looked_after_gives_the_same_bits(network, latents):
    plain = network(latents)

    with before_layers(network, lambda: None):
        looked_after = network(latents)

    assert torch.equal(looked_after, plain)


def test_a_network_is_as_before_after_a_look_that_ended_it(network, latents):
    looks = []

    def check():
        looks.append(1)
        if len(looks) == 5:
            raise EndedError

    with pytest.raises(EndedError), before_layers(network, check):
        network(latents)
    network(latents)

    assert len(looks) == 5
