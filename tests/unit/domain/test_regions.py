from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.geometry import Box
from app.domain.regions import prompt_weights
from app.domain.spec import Region, Wrap
from tests.unit.domain.cards import SPEC


def region(top, left, bottom, right, *, feather=0, weight=1.0):
    return Region("sea", "", Box(top, left, bottom, right), weight, feather, None)


def weights(*regions, masks=None, **changes):
    spec = replace(SPEC, height=64, width=64, regions=regions, **changes)
    centres = np.arange(64) + 0.5
    return prompt_weights(spec, centres, centres, masks or {})


def test_without_regions_the_pictures_own_prompt_paints_everything():
    np.testing.assert_array_equal(weights(), np.ones((1, 64, 64)))


def test_a_region_paints_its_box_and_the_pictures_prompt_the_rest():
    own, inside = weights(region(0, 0, 32, 16))

    assert inside[:32, :16].min() == 1
    assert inside.sum() == 32 * 16
    np.testing.assert_array_equal(own, 1 - inside)


def test_a_feathered_region_fades_in_across_its_border():
    _, inside = weights(region(0, 0, 64, 32, feather=16))

    assert inside[5, 23] == 1
    assert inside[5, 40] == 0
    assert inside[5, 31] == pytest.approx(0.5, abs=0.05)
    assert (np.diff(inside[5]) <= 0).all()


def test_a_region_does_not_fade_at_the_border_of_the_picture():
    _, inside = weights(region(0, 0, 32, 64, feather=32))

    assert inside[0, 0] == 1


def test_where_the_picture_wraps_a_region_fades_across_its_end():
    _, inside = weights(region(0, 0, 64, 32, feather=16), wrap=Wrap.X)

    assert inside[5, 0] == pytest.approx(0.5, abs=0.05)
    assert 0 < inside[5, 63] < 0.5


def test_regions_that_overlap_share_by_their_weights():
    _, one, other = weights(region(0, 0, 64, 64), region(0, 0, 64, 64, weight=3.0))

    assert one[10, 10] == pytest.approx(0.25)
    assert other[10, 10] == pytest.approx(0.75)


def test_a_mask_is_stretched_over_its_box():
    mask = np.array([[1.0, 0.0]], np.float32)

    _, inside = weights(region(0, 0, 64, 32), masks={0: mask})

    assert inside[:, :16].min() == 1
    assert inside[:, 16:].max() == 0


@given(
    st.lists(
        st.builds(
            lambda top, left, height, width, feather: region(
                top, left, top + height, left + width, feather=feather
            ),
            *[st.integers(0, 31)] * 2,
            *[st.integers(1, 33)] * 2,
            st.integers(0, 40),
        ),
        max_size=4,
    ),
    st.sampled_from(Wrap),
)
def test_the_weights_of_all_prompts_sum_to_one_everywhere(regions, wrap):
    layers = weights(*regions, wrap=wrap)

    np.testing.assert_allclose(layers.sum(axis=0), 1.0, atol=1e-6)
    assert layers.min() >= 0
