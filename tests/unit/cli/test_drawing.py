import numpy as np
import pytest
from PIL import Image

from app.cli.drawing import draw_plan
from app.domain.errors import InvalidRequestError
from app.domain.spec import Wrap
from tests.unit.domain.cards import plan


def test_the_drawing_has_the_shape_of_the_picture(tmp_path):
    draw_plan(plan(height=1024, width=2048), tmp_path / "plan.png")

    assert Image.open(tmp_path / "plan.png").size == (1600, 800)


def test_overlaps_are_darker_than_single_tiles(tmp_path):
    draw_plan(plan(height=512, width=896, tile=512, overlap=128), tmp_path / "plan.png")

    row = np.asarray(Image.open(tmp_path / "plan.png"))[200].astype(int).sum(axis=1)

    assert row[448] < row[100]
    assert row[448] < row[800]


def test_a_tile_that_wraps_is_drawn_at_both_ends(tmp_path):
    draw_plan(plan(height=512, width=1024, wrap=Wrap.X), tmp_path / "plan.png")

    row = np.asarray(Image.open(tmp_path / "plan.png"))[200].astype(int).sum(axis=1)

    assert row[20] < 3 * 255
    assert row[-20] < 3 * 255


def test_a_file_that_is_no_picture_is_refused(tmp_path):
    with pytest.raises(InvalidRequestError, match=r"^--draw must name a picture file"):
        draw_plan(plan(), tmp_path / "plan.nonsense")
