from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.card import UpscalerCard
from app.domain.decoding import HEAD_LATENTS, plan_decode, plan_encode
from app.domain.errors import UnsupportedError
from app.domain.geometry import Box
from app.domain.spec import Mode, Rerender
from tests.unit.domain.cards import SD15, plan

sides = st.integers(1, 2100)
UPSCALER = UpscalerCard("compact", "1", 19)


def decode(height, width, upscaler=None, *, whole=False, card=SD15):
    return plan_decode(card, height, width, upscaler, whole=whole)


def test_behind_a_head_a_core_needs_the_tails_padding_only():
    assert (decode(128, 128).head, decode(128, 128).padding) == (True, 13)
    assert (decode(128, 129).head, decode(128, 129).padding) == (False, 18)


@given(height=sides, width=sides)
def test_a_canvas_is_encoded_by_the_rule_it_is_decoded_by(height, width):
    encoding, decoding = plan_encode(height, width, whole=False), decode(height, width)

    assert (encoding.windows, encoding.rim, encoding.head) == (
        decoding.windows,
        decoding.rim,
        decoding.head,
    )


def test_a_core_to_encode_is_padded_as_far_as_the_head_only_where_there_is_one():
    assert plan(height=1024, width=1024).encoder_padding == SD15.down_padding == 72
    assert plan(height=1024, width=1032).encoder_padding == SD15.encoder_padding == 112


@pytest.mark.parametrize(
    ("changes", "encodes"),
    [
        ({}, True),
        ({"mode": Mode.PHASED}, False),
        ({"mode": Mode.PHASED, "init_image": "inputs/map"}, True),
        ({"rerender": Rerender("0" * 64, 0, Box(0, 0, 64, 64))}, False),
    ],
    ids=["base", "noise", "picture", "latents that are kept"],
)
def test_only_a_plan_with_a_picture_to_start_from_encodes_one(changes, encodes):
    assert (plan(**changes).encode is not None) == encodes


def test_super_resolution_adds_its_own_padding_in_latents():
    assert decode(128, 128, UPSCALER).padding == 13 + 3
    assert decode(500, 500, UPSCALER).padding == 18 + 3


def test_restoration_and_super_resolution_add_up_before_they_are_rounded_to_latents():
    restorer = UpscalerCard("deblur", "1", 4)

    def padding(upscaler, **changes):
        return plan_decode(
            SD15, 128, 128, upscaler, whole=False, restorer=restorer, **changes
        ).padding

    assert padding(None) == 13 + 1
    assert padding(UPSCALER) == 13 + 3  # 4 and 19 px
    assert padding(UPSCALER, anchored=True) == 13 + 7  # and 31


def test_anchored_colours_add_what_their_wavelets_reach():
    assert plan_decode(SD15, 128, 128, None, whole=False, anchored=True).padding == 13 + 4
    assert plan_decode(SD15, 128, 128, UPSCALER, whole=False, anchored=True).padding == 13 + 7


@pytest.mark.parametrize(
    ("changes", "is_anchored"),
    [
        ({}, True),
        ({"init_image": "inputs/map"}, True),
        ({"nsr": 1.2}, False),
        ({"mode": Mode.PHASED}, False),
        ({"mode": Mode.PHASED, "init_image": "inputs/map"}, True),
        ({"mode": Mode.DIRECT, "init_image": "inputs/map", "height": 512, "width": 512}, False),
    ],
    ids=["base", "picture", "another layout", "noise", "phased picture", "one window"],
)
def test_colours_are_anchored_where_a_pictures_layout_is_kept(changes, is_anchored):
    assert plan(**changes).decode.anchors_colours == is_anchored


def test_the_distilled_decoder_sees_nothing_of_the_whole_canvas():
    card = replace(SD15, tiny_blocks=(3, 3, 3, 1))

    decoding = plan_decode(card, 128, 128, None, whole=False, tiny=True)

    assert (decoding.padding, decoding.windows, decoding.head) == (19, (), False)
    assert len(decoding.cores) == 4


def test_a_model_without_a_distilled_decoder_says_where_it_belongs():
    with pytest.raises(UnsupportedError) as refusal:
        plan(decoder="tiny")

    assert str(refusal.value) == (
        "decoder tiny needs an AutoencoderTiny in the folder vae_tiny of model sd15"
    )


@pytest.mark.parametrize(
    ("levels", "layers", "tail", "whole"),
    [(4, 2, 13, 18), (4, 1, 9, 14), (3, 1, 8, 13), (4, 3, 16, 21)],
    ids=["Stable Diffusion", "bundled", "three levels", "deep"],
)
def test_padding_follows_from_the_autoencoders_topology(levels, layers, tail, whole):
    card = replace(SD15, vae_levels=levels, vae_layers=layers)

    assert (card.tail_padding, card.decoder_padding) == (tail, whole)


@pytest.mark.parametrize(
    ("height", "width", "whole"), [(64, 64, False), (10, 64, False), (128, 100, True)], ids=str
)
def test_one_core_is_normalised_by_itself_and_has_no_head(height, width, whole):
    decoding = decode(height, width, whole=whole)

    assert decoding.cores == (Box(0, 0, height, width),)
    assert (decoding.windows, decoding.rim, decoding.head) == ((), 0, False)
    assert not decoding.freezes_statistics


@given(height=sides, width=sides)
def test_windows_are_equal_and_lie_apart_on_the_canvas(height, width):
    decoding = decode(height, width)
    canvas = Box(0, 0, height, width)

    assert decoding.freezes_statistics == (len(decoding.cores) > 1)
    assert len({(window.height, window.width) for window in decoding.windows}) <= 1
    assert all(window.intersection(canvas) == window for window in decoding.windows)
    for number, window in enumerate(decoding.windows):
        others = decoding.windows[number + 1 :]
        assert not any(window.intersection(other) for other in others)


@given(height=sides, width=sides)
def test_windows_never_take_more_memory_than_a_core(height, width):
    decoding = decode(height, width)

    assert sum(window.area for window in decoding.windows) <= (64 + 2 * 13) ** 2 / 2
    assert decoding.head == (len(decoding.cores) > 1 and height * width <= HEAD_LATENTS)


@given(height=st.integers(100, 2100), width=st.integers(100, 2100))
def test_a_rim_leaves_most_of_a_window_to_be_measured(height, width):
    decoding = decode(height, width)

    assert decoding.rim == 2
    assert all(min(window.height, window.width) > 4 * decoding.rim for window in decoding.windows)


def test_a_small_canvas_is_measured_whole():
    decoding = decode(50, 72)

    assert decoding.windows == (Box(0, 0, 50, 72),)
    assert decoding.rim == 0


def test_a_square_is_measured_evenly():
    windows = decode(240, 240).windows

    assert [(window.top, window.left) for window in windows] == [
        (top, left) for top in range(15, 240, 40) for left in range(15, 240, 40)
    ]


def test_a_panorama_is_measured_along_its_length():
    windows = decode(20, 1440).windows

    assert [(window.top, window.left) for window in windows] == [
        (5, 20 + 40 * number - 5) for number in range(36)
    ]


def test_a_strip_thinner_than_two_rims_is_measured_to_its_edges():
    decoding = decode(4, 4000)

    assert (decoding.windows[0].height, decoding.rim) == (4, 0)
