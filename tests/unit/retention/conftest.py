import pytest

from app.cards import Catalogue
from tests.support.card_model import write_card_model
from tests.unit.retention.shelf import Shelf


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_card_model(folder / "tiny")
    return Catalogue([folder])


@pytest.fixture
def shelf(catalogue):
    return Shelf(catalogue)
