from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from app.cards import file_sha256
from app.domain.errors import ModelError
from app.planning import BUNDLED_UPSCALER
from app.settings import UpscalerFile
from tests.unit.domain.cards import plan
from workers.upscaling import UpscalerCache

CPU = torch.device("cpu")


def test_the_planned_padding_is_what_the_networks_need():
    cache = UpscalerCache({}, CPU)

    needed = {scale: cache.get(plan(upscale=scale)).padding for scale in (2, 4)}

    assert needed == {2: 19, 4: 18}
    assert max(needed.values()) == BUNDLED_UPSCALER.padding


def test_an_upscaler_is_loaded_once():
    cache = UpscalerCache({}, CPU)

    assert cache.get(plan(upscale=2)) is cache.get(plan(upscale=2))


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    return UpscalerFile(path=path, sha256=file_sha256(path), padding=8)


def planned_with(file):
    render = plan(upscale=2, upscaler="own")
    return replace(render, revisions=render.revisions | {"own": file.sha256})


def test_an_upscaler_this_worker_does_not_have_is_named(own):
    with pytest.raises(ModelError) as caught:
        UpscalerCache({}, CPU).get(planned_with(own))

    assert str(caught.value) == "this worker has no upscaler 'own'; set TILECHORD_UPSCALERS"


def test_a_file_changed_since_planning_is_refused(own):
    render = planned_with(own)
    own.path.write_bytes(own.path.read_bytes() + b"x")

    with pytest.raises(ModelError, match=r"^upscaler own: SHA-256 must be [0-9a-f]{12}…, got"):
        UpscalerCache({"own": own}, CPU).get(render)
