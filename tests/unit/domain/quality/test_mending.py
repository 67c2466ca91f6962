import numpy as np
import pytest

from app.domain.grid import Blend
from app.domain.quality import SeamScores
from app.domain.quality.mending import MOST_MENDS, mends
from app.domain.quality.planned import seams_of
from app.domain.spec import Mode, Wrap
from app.domain.tiling import plan_axis
from tests.unit.domain.cards import plan

RENDER = plan(height=1280, width=1280, tile=512, overlap=128)
"""Joints at 448 and 832 on both axes."""


def scored(render=RENDER, *, worst=2.0, rows=(), columns=()):
    """Scores of a picture that is sound but for some ``(line, segment, z)``."""
    lines = seams_of(render)
    down, across = render.spec.height // 128, render.spec.width // 128
    scores = []
    for axis, count, bad in ((lines.rows, across, rows), (lines.columns, down, columns)):
        z = np.full((len(axis.lines), count), 0.8)
        for line, segment, value in bad:
            z[axis.lines.index(line), segment] = value
        scores.append(z)
    return SeamScores(worst, *scores)


def edges(box):
    return box.top, box.left, box.bottom, box.right


def test_nothing_is_painted_anew_in_a_picture_that_passes_its_gate():
    assert mends(RENDER, scored(worst=1.5, rows=[(448, 3, 4.0)])) == ()
    assert mends(RENDER, scored(worst=None)) == ()


def test_a_bad_piece_of_a_seam_is_painted_as_far_as_tiles_overlap():
    (across,) = mends(RENDER, scored(rows=[(448, 3, 4.0)]))
    (down,) = mends(RENDER, scored(columns=[(832, 9, 3.0)]))

    assert edges(across.box) == (448 - 64, 3 * 128, 448 + 64, 4 * 128)
    assert edges(down.box) == (9 * 128, 832 - 64, 10 * 128, 832 + 64)


def test_pieces_that_follow_each_other_are_one_part():
    found = mends(RENDER, scored(rows=[(448, 2, 3.0), (448, 3, 4.0), (448, 5, 3.5)]))

    assert [(part.z, part.box.left, part.box.right) for part in found] == [
        (4.0, 256, 512),
        (3.5, 640, 768),
    ]


def test_a_seam_between_cores_is_left_alone():
    cuts = set(seams_of(RENDER).rows.cuts) - set(seams_of(RENDER).rows.joints)

    assert mends(RENDER, scored(rows=[(cuts.pop(), 3, 5.0)])) == ()


def test_what_could_not_be_told_is_left_alone():
    assert mends(RENDER, scored(rows=[(448, 3, np.nan)])) == ()


@pytest.mark.parametrize("line", [448, 832])
def test_the_tiles_that_paint_a_seam_meet_elsewhere(line):
    (part,) = mends(RENDER, scored(columns=[(line, 2, 4.0)]))

    cells = plan_axis(160, 64, part.overlap // 8, wraps=False).cells
    nearest = min(abs(8 * first - line) for first, _ in cells[1:])
    assert nearest >= 64
    assert 128 <= part.overlap <= 256


def test_the_tiles_lie_on_the_grid_of_any_model():
    (part,) = mends(RENDER, scored(columns=[(448, 2, 4.0)]))

    assert part.overlap % 16 == 0


def test_the_end_of_a_panorama_is_painted_on_both_sides():
    options = {"wrap": Wrap.X, "mode": Mode.PHASED, "blend": Blend.UNIFORM}
    ring = plan(height=1280, width=1280, tile=512, overlap=128, **options)
    assert seams_of(ring).columns.joints[0] == 0

    found = mends(ring, scored(ring, columns=[(0, 4, 4.0)]))

    assert sorted(edges(part.box) for part in found) == [(512, 0, 640, 64), (512, 1216, 640, 1280)]


def test_an_enlarged_picture_is_painted_as_far_as_its_tiles_overlap():
    large = plan(height=2560, width=2560, tile=512, overlap=192, upscale=2)
    line = seams_of(large).rows.joints[0]

    (part,) = mends(large, scored(large, rows=[(line, 0, 4.0)]))

    assert edges(part.box) == (line - 192, 0, line + 192, 128)


def test_tiles_that_only_touch_are_painted_over_eight_latents():
    touching = plan(height=1280, width=1280, tile=256, overlap=0)

    (part,) = mends(touching, scored(touching, rows=[(256, 9, 3.0)]))

    assert edges(part.box) == (192, 1152, 320, 1280)
    assert part.overlap > 0


def test_both_ends_of_a_hard_blend_are_seams():
    uniform = plan(height=1280, width=1280, tile=512, overlap=128, blend=Blend.UNIFORM)

    (part,) = mends(uniform, scored(uniform, rows=[(384, 0, 3.0)]))

    assert edges(part.box) == (320, 0, 448, 128)


def test_the_worst_come_first_and_there_is_a_limit():
    bad = [(448, segment, 3.0 + segment / 10) for segment in range(0, 10, 2)]
    many = [(line, *rest) for line in (448, 832) for _, *rest in bad]

    found = mends(RENDER, scored(rows=many, columns=many))

    assert len(found) == MOST_MENDS == 16
    assert [part.z for part in found] == sorted((part.z for part in found), reverse=True)
    assert found[0].z == 3.8
