"""How a canvas is encoded and decoded: cores, their padding, and what sees the whole canvas.

An autoencoder sees the whole canvas in two places. Its GroupNorms average over it: their
statistics are measured on windows of the canvas and used by every core. Its middle block attends
to it: a *head* is that block seeing the whole once, where the canvas is small enough. Cores then
go through the rest, the encoder's *down path* or the decoder's *tail*, whose convolutions reach a
fixed distance.
"""

from __future__ import annotations

import math

from app.domain.card import ModelCard, UpscalerCard
from app.domain.errors import UnsupportedError
from app.domain.geometry import Box
from app.domain.plan import Decode, Overview
from app.domain.tiling import plan_cores

CORE_LATENTS = (
    64  # a side; the middle attention sees a padded core, its cost is the square of its area
)
HEAD_LATENTS = 128**2
"""Largest canvas with a head. Up to here its attention takes no more than that of four padded
cores, about 6 s of a CPU core with the bundled model; it grows with the square of the area (96 s
at 256x256) and is not shared. A core that attends to its own part alone misses little: with the
bundled model 0.035 of 255 levels in the mean, 1.6 at most (tests.benchmarks.bench_decode 1024)."""
WINDOWS, WINDOW_LATENTS = 36, 10
"""What is measured of larger canvases, less than half a padded core. Many small windows miss less
of what is on a canvas than few large ones: the levels of four pictures are off by 0.8 of 255 in
the mean with these, by 1.6 with 9 of 20, by 0.7 with 25 of 16, which take twice the time, and by
1.5 with the statistics of the base picture."""
WINDOW_RIM = 2
"""Without it the windows' edges bias all levels by 1 of 255; more than 2 latents change nothing."""
COLOUR_PADDING = 31
"""Pixels that the remainder of five wavelet levels reaches: 1 + 2 + 4 + 8 + 16."""


def plan_decode(
    card: ModelCard,
    height: int,
    width: int,
    upscaler: UpscalerCard | None,
    *,
    whole: bool,
    restorer: UpscalerCard | None = None,
    anchored: bool = False,
    tiny: bool = False,
) -> Decode:
    """How a canvas of *height* x *width* latents is decoded, in one core if it is *whole*.

    The colours of an *anchored* one are those of the picture it started from. The *tiny* decoder
    consists of convolutions alone. Raises ``UnsupportedError`` when the model has none.
    """
    if tiny and not card.tiny_blocks:
        raise UnsupportedError(
            f"decoder tiny needs an AutoencoderTiny in the folder vae_tiny of model {card.name}"
        )
    cores = tuple(plan_cores(height, width, core=max(height, width) if whole else CORE_LATENTS))
    seen = _overview(height, width, is_cut=len(cores) > 1 and not tiny)
    # Each sees what the one before it made: what they reach adds up, and is rounded up once.
    around = sum(network.padding for network in (restorer, upscaler) if network)
    around += COLOUR_PADDING if anchored else 0
    reach = _decoder_reach(card, head=seen.head, tiny=tiny)
    return Decode(
        cores=cores,
        padding=reach + math.ceil(around / card.latent_scale),
        windows=seen.windows,
        rim=seen.rim,
        head=seen.head,
        anchors_colours=anchored,
    )


def plan_encode(height: int, width: int, *, whole: bool) -> Overview:
    """How a picture becomes a canvas of *height* x *width* latents, in one core if it is *whole*.

    The same sizes have a head as in decoding: an encoder's middle block costs as much.
    """
    return _overview(height, width, is_cut=not whole and max(height, width) > CORE_LATENTS)


def _overview(height: int, width: int, *, is_cut: bool) -> Overview:
    windows = _spread_windows(height, width) if is_cut else ()
    has_rim = len(windows) > 1 and min(windows[0].height, windows[0].width) > 4 * WINDOW_RIM
    return Overview(
        windows=windows,
        rim=WINDOW_RIM if has_rim else 0,
        head=is_cut and height * width <= HEAD_LATENTS,
    )


def room_behind_decoder(card: ModelCard, decode: Decode, *, tiny: bool) -> int:
    """Pixels around a core that *decode* leaves to restorer and upscaler, beside the colours."""
    latents = decode.padding - _decoder_reach(card, head=decode.head, tiny=tiny)
    return latents * card.latent_scale - (COLOUR_PADDING if decode.anchors_colours else 0)


def _decoder_reach(card: ModelCard, *, head: bool, tiny: bool) -> int:
    full_reach = card.tail_padding if head else card.decoder_padding
    return card.tiny_padding if tiny else full_reach


def _spread_windows(height: int, width: int) -> tuple[Box, ...]:
    """The whole of a small canvas; of a larger one equal windows, as many along as its aspect."""
    if height * width <= WINDOWS * WINDOW_LATENTS**2:
        return (Box(0, 0, height, width),)
    rows = min(max(round(math.sqrt(WINDOWS * height / width)), 1), WINDOWS)
    columns = WINDOWS // rows
    high, wide = min(WINDOW_LATENTS, height // rows), min(WINDOW_LATENTS, width // columns)
    return tuple(
        Box(top, left, top + high, left + wide)
        for top in _centred(height, high, rows)
        for left in _centred(width, wide, columns)
    )


def _centred(length: int, size: int, count: int) -> list[int]:
    """Starts of spans of *size*, each in the middle of one of *count* equal parts."""
    return [(2 * part + 1) * length // (2 * count) - size // 2 for part in range(count)]
