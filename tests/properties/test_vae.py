from dataclasses import replace

import numpy as np
import pytest
import torch

from app.domain.card import HEAD_PADDING
from app.domain.geometry import Box
from tests.support.autoencoders import KINDS, LAYERS, LEVELS, build_autoencoder, build_tiny_decoder
from tests.unit.domain.cards import SD15
from workers.vae import (
    decode,
    decode_head,
    decode_tail,
    decode_tiny,
    encode,
    encode_down,
    encode_middle,
    survey_decoder,
    survey_encoder,
    survey_head,
)

CANVAS = Box(0, 0, 64, 64)
CORE = Box(24, 24, 40, 40)
EXACT = 5e-5
"""In units of a pixel's range."""


@pytest.fixture(scope="module")
def convolutional():
    return build_autoencoder(attends=False)


@pytest.fixture(scope="module")
def latents():
    """Noise whose level rises to the right: parts of it have statistics of their own."""
    noise = np.random.default_rng(1).standard_normal((4, 64, 64))
    return (noise * np.linspace(0.5, 2, 64)).astype(np.float32)


@pytest.fixture(scope="module")
def statistics(convolutional, latents):
    return survey_decoder(convolutional, [latents[:, :32, :32], latents[:, 32:, 32:]], rim=2)


def crop(array, box):
    return array[(slice(None), *box.window)]


def loud_far_from_the_core(array):
    """A padding that is too small then shows: with random weights what lies at the edge of what
    a network reaches would hardly count."""
    loud = 300 * array
    near = (slice(None), *CORE.padded(7, within=CANVAS).window)
    loud[near] = array[near]
    return loud


def decoded_core(function, array, padding):
    """Pixels of ``CORE`` out of *array* ``(C, h, w)`` cut *padding* around it."""
    padded = CORE.padded(padding, within=CANVAS)
    return function(crop(array, padded))[CORE.relative_to(padded).scaled(8).window]


@pytest.mark.parametrize(("padding", "is_exact"), [(18, True), (11, False)])
def test_a_padded_core_equals_the_whole_decode_at_the_same_statistics(
    convolutional, latents, statistics, padding, is_exact
):
    canvas = loud_far_from_the_core(latents)
    whole = decode(convolutional, canvas, statistics)[CORE.scaled(8).window]

    core = decoded_core(lambda part: decode(convolutional, part, statistics), canvas, padding)

    assert (np.abs(core - whole).max() <= EXACT) == is_exact


@pytest.mark.parametrize(("padding", "is_exact"), [(13, True), (11, False)])
def test_a_padded_tail_behind_a_whole_head_equals_the_whole_decode(vae, latents, padding, is_exact):
    statistics, features = survey_head(vae, latents, [CANVAS], rim=0)
    features = loud_far_from_the_core(features)
    whole = decode_tail(vae, features, statistics)[CORE.scaled(8).window]

    core = decoded_core(lambda part: decode_tail(vae, part, statistics), features, padding)

    assert (np.abs(core - whole).max() <= EXACT) == is_exact


def test_no_padding_replaces_a_head_that_attends(vae, latents):
    statistics, _ = survey_head(vae, latents, [CANVAS], rim=0)
    whole = decode(vae, latents, statistics)[CORE.scaled(8).window]

    core = decoded_core(lambda part: decode(vae, part, statistics), latents, 18)

    assert np.abs(core - whole).max() > 10 * EXACT


def marked_columns(function, array, position):
    """First and last column of the result that a NaN in column *position* of *array* reaches."""
    marked = array.copy()
    marked[:, :, position] = np.nan
    reached = np.isnan(function(marked)).any(axis=(0, 2)).nonzero()[0]
    return reached.min(), reached.max()


def test_the_cards_paddings_are_those_of_the_decoder_and_no_latent_more(
    convolutional, latents, statistics
):
    features = decode_head(convolutional, latents, statistics)
    left, right = marked_columns(
        lambda part: decode_tail(convolutional, part, statistics), features[:, :16], 32
    )
    wide_left, wide_right = marked_columns(
        lambda part: decode(convolutional, part, statistics), latents[:, :16], 32
    )

    assert (SD15.vae_levels, SD15.vae_layers) == (LEVELS, LAYERS)
    # A core that ends where the mark is still sees it, so the mark lies this many latents away.
    assert SD15.tail_padding == -(-(8 * 32 - left) // 8) == -(-(right - 8 * 33 + 1) // 8) == 13
    assert SD15.decoder_padding == -(-(8 * 32 - wide_left) // 8) == 18
    assert SD15.decoder_padding == -(-(wide_right - 8 * 33 + 1) // 8)


def test_a_heads_convolutions_reach_what_its_padding_says(convolutional, latents, statistics):
    marked = latents.copy()
    marked[:, :, 32] = np.nan

    reached = np.isnan(decode_head(convolutional, marked, statistics)).any(axis=(0, 1)).nonzero()[0]

    assert (reached.min(), reached.max()) == (32 - HEAD_PADDING, 32 + HEAD_PADDING)


@pytest.mark.parametrize(("padding", "is_exact"), [(19, True), (11, False)])
def test_a_padded_core_of_the_distilled_decoder_equals_the_whole(latents, padding, is_exact):
    tiny = build_tiny_decoder()
    whole = decode_tiny(tiny, latents)[CORE.scaled(8).window]

    core = decoded_core(lambda part: decode_tiny(tiny, part), latents, padding)

    assert (np.abs(core - whole).max() <= 1e-6) == is_exact


def test_the_distilled_decoders_padding_is_what_it_reaches_and_no_latent_more(latents):
    tiny = build_tiny_decoder(blocks := (3, 3, 3, 1))

    left, right = marked_columns(lambda part: decode_tiny(tiny, part), latents[:, :16], 32)

    padding = replace(SD15, tiny_blocks=blocks).tiny_padding
    assert padding == -(-(8 * 32 - left) // 8) == -(-(right - 8 * 33 + 1) // 8) == 19


def test_the_distilled_decoder_is_that_of_diffusers(latents):
    tiny = build_tiny_decoder()
    with torch.inference_mode():
        decoded = tiny.decode(torch.from_numpy(latents)[None]).sample[0] * 0.5 + 0.5

    picture = decode_tiny(tiny, latents)

    np.testing.assert_allclose(picture, decoded.clamp(0, 1).permute(1, 2, 0), rtol=0, atol=1e-6)
    assert picture.std() > 0.05


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_decoding_and_encoding_in_two_parts_are_those_of_diffusers(kind):
    vae, shift = build_autoencoder(**kind), kind.get("shift", 0.0)
    draw = np.random.default_rng(2)
    pixels = draw.random((64, 96, 3), np.float32)
    latents = draw.standard_normal((vae.config.latent_channels, 24, 32), np.float32)
    with torch.inference_mode():
        picture = vae.decode(torch.from_numpy(latents)[None] / 0.5 + shift).sample[0] * 0.5 + 0.5
        signal = torch.from_numpy(pixels).permute(2, 0, 1)[None] * 2 - 1
        mean = (vae.encode(signal).latent_dist.mode()[0] - shift) * 0.5

    np.testing.assert_allclose(
        decode(vae, latents), picture.clamp(0, 1).permute(1, 2, 0), rtol=0, atol=1e-6
    )
    np.testing.assert_allclose(encode(vae, pixels), mean, rtol=0, atol=1e-5)


def test_statistics_of_the_whole_canvas_change_nothing(vae, latents):
    statistics, features = survey_head(vae, latents, [CANVAS], rim=0)
    plain = decode(vae, latents)

    np.testing.assert_allclose(decode(vae, latents, statistics), plain, rtol=0, atol=1e-5)
    np.testing.assert_allclose(decode_tail(vae, features, statistics), plain, rtol=0, atol=1e-5)


def test_windows_without_a_head_are_surveyed_together(convolutional, latents):
    windows = [Box(8, 8, 28, 28), Box(36, 36, 56, 56)]
    apart = survey_decoder(convolutional, [crop(latents, box) for box in windows], rim=5)

    joined, _ = survey_head(convolutional, latents, windows, rim=5)

    # The tail's statistics agree once the rim is as wide as the head's convolutions reach.
    np.testing.assert_allclose(apart[-1], joined[-1], rtol=0.1)
    assert apart.shape == joined.shape == (29, 2, 4)


def test_without_frozen_statistics_a_core_has_another_tone(convolutional, latents):
    whole = decode(convolutional, latents)[CORE.scaled(8).window]

    core = decoded_core(lambda part: decode(convolutional, part), latents, 18)

    assert np.abs(core - whole).max() > 1e-2


def test_a_padded_window_encodes_like_the_whole_picture(convolutional):
    pixels = np.random.default_rng(2).random((384, 384, 3), np.float32)
    statistics = survey_encoder(convolutional, [pixels[:128, :128]], rim=0)
    whole = encode(convolutional, pixels, statistics)[:, 16:32, 16:32]
    padding = SD15.encoder_padding

    window = slice(128 - padding, 256 + padding)
    part = encode(convolutional, pixels[window, window], statistics)

    inner = slice(padding // 8, padding // 8 + 16)
    np.testing.assert_allclose(part[:, inner, inner], whole, rtol=0, atol=EXACT)


def test_the_encoders_halves_make_a_whole(vae):
    pixels = np.random.default_rng(3).random((64, 64, 3), np.float32)
    statistics = survey_encoder(vae, [pixels], rim=0)

    latents = encode_middle(vae, encode_down(vae, pixels, statistics), statistics)

    np.testing.assert_allclose(latents, encode(vae, pixels), rtol=0, atol=1e-5)
