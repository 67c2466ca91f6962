import numpy as np
import pytest
from PIL import Image

from app.cli import drawing
from app.cli.drawing import draw_plan
from app.domain.errors import InvalidRequestError
from app.domain.spec import Mode, Wrap
from tests.unit.domain.cards import plan

CAPTION = 56  # pixels above the first panel, and to the left of it 16


def drawn(tmp_path, **changes):
    """Brightness of the picture, 0 to 765."""
    draw_plan(plan(**changes), tmp_path / "plan.png")
    return np.asarray(Image.open(tmp_path / "plan.png")).astype(int).sum(axis=2)


@pytest.fixture
def captions(monkeypatch):
    """What is written above the panels."""
    written = []
    draw_panel = drawing._draw_panel

    def noted(draw, panel, *others):
        written.append(panel.caption)
        draw_panel(draw, panel, *others)

    monkeypatch.setattr(drawing, "_draw_panel", noted)
    return written


def test_every_grid_has_a_panel_and_the_cores_have_one(captions, tmp_path):
    drawn(tmp_path, height=1024, width=1024, mode=Mode.SPOT, steps=4)

    assert captions == [
        "phase 1 of 4: noise 4.1 to 1.6\n4 tiles of 512x512 px",
        "phase 2 of 4: noise 1.6 to 0.7\n9 tiles of 512x512 px",
        "phases 3 to 4 of 4: noise 0.7 to 0.029\n9 tiles of 512x512 px",
        "pixels\n4 cores",
    ]


def test_phases_on_one_grid_share_a_panel(captions, tmp_path):
    drawn(tmp_path, height=512, width=512, mode=Mode.MULTIDIFFUSION, upscale=2)

    assert captions == [
        "phases 1 to 20 of 20: noise 11 to 0.029\n1 tile of 256x256 px",
        "pixels\n1 core, enlarged 2 times",
    ]


def test_panels_lie_side_by_side_and_those_of_a_panorama_above_each_other(tmp_path):
    square, wide = (drawn(tmp_path, height=512, width=width).shape for width in (512, 4096))

    assert square == (16 + 40 + 640 + 16, 16 + 2 * (640 + 16))
    assert wide == (16 + 2 * (198 + 40 + 16), 16 + 1584 + 16)


def test_overlaps_are_darker_than_single_tiles(tmp_path):
    panel = drawn(tmp_path, height=512, width=896, tile=512, overlap=128)[CAPTION + 200, 16:]

    middle, tile = 423, 100

    assert panel[middle] < panel[tile]
    assert panel[middle] < panel[2 * middle - tile]


def test_a_tile_that_wraps_is_drawn_at_both_ends(tmp_path):
    panel = drawn(tmp_path, height=512, width=1024, wrap=Wrap.X)[CAPTION + 200, 16:-16]

    assert panel[20] < 3 * 255
    assert panel[-20] < 3 * 255


def test_a_file_that_is_no_picture_is_refused(tmp_path):
    with pytest.raises(InvalidRequestError, match=r"^--draw must name a picture file"):
        draw_plan(plan(), tmp_path / "plan.nonsense")
