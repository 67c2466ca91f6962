import io

import numpy as np
import pytest
from PIL import Image

from app.domain.errors import InvalidRequestError
from app.domain.geometry import Box
from app.domain.spec import Region
from app.pictures.reading import read_mask
from app.storage.memory import MemoryStore
from tests.unit.domain.cards import plan
from workers.stages.context import Context
from workers.stages.masks import read_masks


def encoded(picture: Image.Image) -> bytes:
    target = io.BytesIO()
    picture.save(target, "png")
    return target.getvalue()


def read(blob: bytes) -> np.ndarray:
    """*blob* as the mask of the second of two regions."""
    box = Box(0, 0, 64, 64)
    regions = (Region("sea", "", box, 1.0, 0, None), Region("hill", "", box, 1.0, 0, "inputs/m"))
    context = Context(MemoryStore(), None, None, 1.0)
    context.store.put("inputs/m", blob)
    masks = read_masks(context, plan(regions=regions))
    assert list(masks) == [1]
    return masks[1]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_every_grey_without_transparency_counts_as_it_is(mode):
    greys = np.arange(256, dtype=np.uint8).reshape(8, 32)

    mask = read(encoded(Image.fromarray(greys).convert(mode)))

    assert mask.dtype == np.float32
    np.testing.assert_array_equal(mask, (greys / 255.0).astype(np.float32))


def test_a_regions_mask_reads_as_the_requests_own():
    layer = Image.new("RGBA", (6, 4), (255, 255, 255, 0))
    layer.paste((0, 255, 0, 255), (0, 0, 2, 4))
    layer.paste((255, 255, 255, 128), (2, 0, 4, 4))

    mask = read(encoded(layer))

    own = read_mask(encoded(layer), field="mask", max_mpx=1.0)
    np.testing.assert_array_equal(mask, (own / 255.0).astype(np.float32))
    np.testing.assert_array_equal(own[0], [150, 150, 128, 128, 0, 0])


def test_a_regions_mask_that_is_no_picture_is_told_with_its_number():
    with pytest.raises(InvalidRequestError, match=r"^regions\.1\.mask must be a PNG"):
        read(b"no picture")
