import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.geometry import Box, middle, parts

places = st.integers(-60, 60)
sizes = st.integers(1, 40)


@given(places, places, sizes, sizes, sizes, sizes)
def test_parts_of_a_box_are_what_a_rolled_canvas_shows(top, left, height, width, rows, columns):
    canvas = np.arange(rows * columns).reshape(rows, columns)
    box = Box(top, left, top + height, left + width)
    window = np.full((height, width), -1)

    for part in parts(box, Box(0, 0, rows, columns)):
        window[part.in_box.window] = canvas[part.on_canvas.window]

    expected = canvas[np.arange(top, top + height) % rows][
        :, np.arange(left, left + width) % columns
    ]
    np.testing.assert_array_equal(window, expected)


def test_a_box_inside_the_canvas_is_one_part():
    (part,) = parts(Box(2, 3, 5, 7), Box(0, 0, 8, 8))

    assert (part.on_canvas, part.in_box) == (Box(2, 3, 5, 7), Box(0, 0, 3, 4))


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        (Box(2, 2, 6, 6), Box(2, 2, 4, 4)),
        (Box(4, 0, 8, 4), None),
        (Box(0, 9, 4, 12), None),
    ],
    ids=["overlapping", "touching", "apart"],
)
def test_the_intersection_is_what_two_boxes_share(other, shared):
    assert Box(0, 0, 4, 4).intersection(other) == shared


def test_a_box_is_padded_up_to_the_edges_it_may_not_leave():
    assert Box(2, 2, 4, 4).padded(3, within=Box(0, -8, 5, 8)) == Box(0, -1, 5, 7)


@pytest.mark.parametrize(
    ("size", "aspect", "box"),
    [
        ((100, 80), Box(0, 0, 64, 64), Box(10, 0, 90, 80)),
        ((80, 100), Box(0, 0, 64, 64), Box(0, 10, 80, 90)),
        ((100, 80), Box(0, 0, 50, 40), Box(0, 0, 100, 80)),
        ((3, 3), Box(0, 0, 8, 800), Box(1, 0, 2, 3)),
    ],
    ids=["too high", "too wide", "of the same aspect", "less than a pixel high"],
)
def test_the_middle_of_a_picture_has_the_aspect_asked_for(size, aspect, box):
    assert middle(*size, aspect=aspect) == box
