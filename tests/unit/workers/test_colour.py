import numpy as np
import pytest

from app.domain.decoding import COLOUR_PADDING
from app.domain.geometry import Box
from workers.colour import anchor_colours

CANVAS = Box(0, 0, 96, 120)
CORE = Box(40, 45, 60, 70)


@pytest.fixture
def reference():
    rows, columns = np.mgrid[0:96, 0:120] / 30
    return np.stack([np.sin(rows), np.cos(columns), np.sin(rows + columns)], 2) * 0.3 + 0.5


@pytest.fixture
def detail():
    """A checkerboard: no low frequencies at all."""
    rows, columns = np.mgrid[0:96, 0:120]
    return 0.1 * (-1.0) ** (rows + columns)[..., None] * np.ones(3)


def anchored_core(pixels, reference, padding):
    padded = CORE.padded(padding, within=CANVAS)
    part = anchor_colours(pixels[padded.window], reference[padded.window])
    return part[CORE.relative_to(padded).window]


@pytest.mark.parametrize(("padding", "is_exact"), [(COLOUR_PADDING, True), (30, False)])
def test_a_padded_part_comes_out_as_in_the_whole(reference, padding, is_exact):
    pixels = reference.copy()
    pixels[CORE.top - COLOUR_PADDING] += 1e6  # the farthest row that the core can see
    whole = anchor_colours(pixels, reference)[CORE.window]

    core = anchored_core(pixels, reference, padding)

    assert (np.abs(core - whole).max() < 1e-6) == is_exact


def test_what_has_the_references_low_frequencies_is_left_as_it_is(reference, detail):
    inside = slice(40, -40)

    anchored = anchor_colours(reference + detail, reference)

    np.testing.assert_allclose(anchored[inside, inside], (reference + detail)[inside, inside])


def test_colours_come_from_the_reference(reference):
    grey = np.full_like(reference, 0.5)

    anchored = anchor_colours(grey, reference)

    assert np.abs(anchored - reference).mean() < 0.03


def test_the_inputs_are_left_alone_and_the_precision_kept(reference):
    pixels, wanted = reference.astype(np.float32), reference[::-1].astype(np.float32)
    before = pixels.copy(), wanted.copy()

    anchored = anchor_colours(pixels, wanted)

    assert anchored.dtype == np.float32
    np.testing.assert_array_equal(pixels, before[0])
    np.testing.assert_array_equal(wanted, before[1])
