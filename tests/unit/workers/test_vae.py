import copy

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import Attention

from workers.vae import decode, encode, measure


@pytest.fixture(scope="module")
def convolutional_vae(tiny):
    """The model's VAE with its middle attention silenced: only then a finite padding is exact."""
    vae = copy.deepcopy(tiny.vae)
    for part in vae.modules():
        if isinstance(part, Attention):
            torch.nn.init.zeros_(part.to_out[0].weight)
            torch.nn.init.zeros_(part.to_out[0].bias)
    return vae


@pytest.fixture(scope="module")
def latents():
    return np.random.default_rng(1).standard_normal((4, 48, 48)).astype(np.float32)


def decoded_core(vae, latents, statistics, padding):
    window = slice(16 - padding, 32 + padding)
    pixels = decode(vae, np.ascontiguousarray(latents[:, window, window]), statistics)
    inner = slice(4 * padding, 4 * (padding + 16))
    return pixels[inner, inner]


def test_a_padded_core_equals_the_whole_decode_at_the_same_statistics(
    convolutional_vae, catalogue, latents
):
    padding = catalogue.card("tiny").decoder_padding
    statistics = measure(
        convolutional_vae.decoder, lambda: decode(convolutional_vae, latents[:, :16, :16].copy())
    )
    whole = decode(convolutional_vae, latents, statistics)[64:128, 64:128]

    exact = decoded_core(convolutional_vae, latents, statistics, padding)
    short = decoded_core(convolutional_vae, latents, statistics, padding - 6)

    assert np.abs(exact - whole).max() < 5e-5
    assert np.abs(short - whole).max() > 5e-5


def test_statistics_of_the_same_picture_change_nothing(convolutional_vae, latents):
    plain = decode(convolutional_vae, latents)

    statistics = measure(convolutional_vae.decoder, lambda: decode(convolutional_vae, latents))

    np.testing.assert_allclose(decode(convolutional_vae, latents, statistics), plain, atol=1e-5)


def test_without_frozen_statistics_a_core_has_another_tone(convolutional_vae, catalogue, latents):
    latents = latents.copy()
    latents[:, :, 24:] *= 3
    padding = catalogue.card("tiny").decoder_padding
    whole = decode(convolutional_vae, latents)[64:128, 64:128]

    core = decoded_core(convolutional_vae, latents, None, padding)

    assert np.abs(core - whole).max() > 1e-2


def test_freezing_ends_with_the_call(convolutional_vae, latents):
    plain = decode(convolutional_vae, latents)
    other = measure(convolutional_vae.decoder, lambda: decode(convolutional_vae, latents * 5))

    decode(convolutional_vae, latents, other)

    np.testing.assert_array_equal(decode(convolutional_vae, latents), plain)


def test_a_padded_window_encodes_like_the_whole_picture(convolutional_vae, catalogue):
    card = catalogue.card("tiny")
    padding = card.encoder_padding
    pixels = np.random.default_rng(2).random((256, 256, 3), np.float32)
    statistics = measure(
        convolutional_vae.encoder, lambda: encode(convolutional_vae, pixels[:64, :64].copy())
    )
    whole = encode(convolutional_vae, pixels, statistics)

    window = slice(128 - padding, 192 + padding)
    part = encode(convolutional_vae, pixels[window, window].copy(), statistics)

    inner = slice(padding // 4, padding // 4 + 16)
    np.testing.assert_allclose(part[:, inner, inner], whole[:, 32:48, 32:48], atol=5e-5)
