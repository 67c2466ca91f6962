from pathlib import Path

import pytest

from app.schemas import RenderRequest
from app.settings import Settings

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_in_the_reference(name):
    assert f"`TILECHORD_{name.upper()}`" in (DOCS / "reference" / "settings.md").read_text()


@pytest.mark.parametrize("name", sorted(RenderRequest.model_fields))
def test_every_request_field_is_in_the_reference(name):
    assert f"`{name}`" in (DOCS / "reference" / "request.md").read_text()
