import pytest

from app.domain.quality import seam_axis


def test_tiles_that_touch_meet_at_one_line_and_blend_nothing():
    axis = seam_axis(300, [(0, 100), (100, 200), (200, 300)])

    assert axis.joints == (100, 200)
    assert axis.bands == ()


def test_tiles_that_overlap_meet_in_the_middle_of_what_they_share():
    axis = seam_axis(224, [(0, 96), (64, 160), (128, 224)])

    assert axis.joints == (80, 144)
    assert axis.bands == ((64, 96), (128, 160))


def test_a_hard_blend_has_a_line_at_either_end_of_an_overlap():
    axis = seam_axis(160, [(0, 96), (64, 160)], is_hard=True)

    assert axis.joints == (64, 96)


def test_a_ramp_blends_from_its_margin_on():
    axis = seam_axis(160, [(0, 96), (64, 160)], margin=4)

    assert axis.bands == ((68, 92),)


def test_a_margin_that_leaves_nothing_to_blend_leaves_no_band():
    axis = seam_axis(160, [(0, 96), (64, 160)], margin=16)

    assert axis.bands == ()


def test_spans_in_latents_become_lines_in_pixels():
    axis = seam_axis(160, [(0, 12), (8, 20)], cuts=[10], margin=1, latent=8)

    assert axis.joints == (80,)
    assert axis.cuts == (80,)
    assert axis.bands == ((72, 88),)
    assert axis.raster == 8


def test_the_same_span_of_every_row_of_tiles_counts_once():
    axis = seam_axis(160, [(0, 96), (64, 160), (0, 96), (64, 160)])

    assert axis.joints == (80,)


def test_pasted_parts_end_at_cuts_and_the_border_is_none():
    axis = seam_axis(300, [(0, 300)], cuts=[0, 100, 200, 300])

    assert axis.joints == ()
    assert axis.cuts == (100, 200)


@pytest.mark.parametrize("cuts", [[150], [0, 150], [0, 150, 300]], ids=str)
def test_a_picture_that_wraps_has_one_line_on_its_border(cuts):
    axis = seam_axis(300, [(0, 300)], cuts=cuts, wraps=True)

    assert axis.cuts == (0, 150)


def test_on_an_axis_that_wraps_the_last_tile_meets_the_first():
    axis = seam_axis(192, [(0, 96), (64, 160), (128, 224)], wraps=True)

    assert axis.joints == (16, 80, 144)
    assert axis.bands == ((64, 96), (128, 160), (192, 224))


def test_one_tile_has_no_lines():
    axis = seam_axis(100, [(0, 100)])

    assert axis.lines == ()


def test_a_joint_that_is_also_a_cut_is_one_line():
    axis = seam_axis(200, [(0, 100), (100, 200)], cuts=[50, 100, 150])

    assert axis.lines == (50, 100, 150)


@pytest.mark.parametrize("latent", [1, 8, 32], ids=["pixels", "latents", "enlarged"])
def test_every_line_lies_on_the_raster(latent):
    axis = seam_axis(1000 * latent, [(0, 35), (21, 56), (43, 78)], cuts=[33], latent=latent)

    assert {line % axis.raster for line in axis.lines} == {0}
