import pytest

from tests.unit.scheduling.scene import Scene


@pytest.fixture
def scene() -> Scene:
    """An installation without servers: a store, a board, a clock moved by hand."""
    return Scene()
