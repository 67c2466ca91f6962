from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from app.cards import file_sha256
from app.domain.card import UpscalerCard
from app.domain.errors import ModelError
from app.domain.planner import plan_render
from app.domain.spec import Mode
from app.planning import BUNDLED_UPSCALER
from app.settings import UpscalerFile
from tests.unit.domain.cards import LIMITS, SD15, SPEC, plan
from workers.upscale.compact import SRVGGNetCompact
from workers.upscaling import UpscalerCache, check_padding

CPU = torch.device("cpu")


def test_the_planned_padding_is_what_the_networks_need():
    cache = UpscalerCache({}, CPU)

    needed = {scale: cache.get(plan(upscale=scale)).padding for scale in (2, 4)}

    assert needed == {2: 19, 4: 18}
    assert max(needed.values()) == BUNDLED_UPSCALER.padding


@pytest.mark.parametrize("mode", [Mode.REFINE, Mode.PHASED], ids=["anchored", "own colours"])
@pytest.mark.parametrize("side", [1024, 4096], ids=["head", "no head"])
def test_the_room_that_a_plan_leaves_is_what_the_upscaler_was_said_to_need(side, mode):
    upscaler = UpscalerCache({}, CPU).get(plan(upscale=2))

    def check(padding):
        spec = replace(SPEC, height=2 * side, width=2 * side, upscale=2, mode=mode)
        card = UpscalerCard(spec.upscaler, "1", padding)
        render = plan_render(spec, {"sd15": SD15}, upscaler=card, limits=LIMITS)
        check_padding(render, SD15, upscaler)

    check(19)
    with pytest.raises(ModelError) as caught:
        check(8)
    room = {Mode.REFINE: 9, Mode.PHASED: 8}[mode]  # 31 px of colours and 8 are five latents
    assert str(caught.value) == (
        "upscaler realesr-animevideov3: padding must be at least the 19 px that its layers reach, "
        f"got {room} px in the plan; set TILECHORD_UPSCALERS where plans are made to what "
        "`python -m workers.upscale.settings` prints"
    )


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


@pytest.fixture
def deblur(tmp_path, spandrel):
    path = tmp_path / "deblur.safetensors"
    save_file(SRVGGNetCompact(features=8, convolutions=2, scale=1).state_dict(), path)
    return UpscalerFile(path=path, sha256=file_sha256(path), padding=4)


def restored_with(file, name="deblur", **changes):
    """A plan that restores with the network in *file*, of which it was told the padding."""
    spec = replace(SPEC, mode=Mode.PHASED, restore=name, **changes)
    card = UpscalerCard(name, file.sha256, file.padding)
    return plan_render(spec, {"sd15": SD15}, upscaler=None, restorer=card, limits=LIMITS)


def test_a_restorer_is_loaded_from_a_file_like_an_upscaler(deblur):
    cache, render = UpscalerCache({"deblur": deblur}, CPU), restored_with(deblur)

    restorer = cache.restorer(render)

    assert (restorer.scale, restorer.padding) == (1, 4)
    assert cache.restorer(render) is restorer


def test_a_plan_that_was_told_less_padding_than_a_restorer_needs_is_refused(deblur):
    # Four pixels are less than a latent: room is left in whole ones.
    told = deblur.model_copy(update={"padding": 0})
    restorer = UpscalerCache({"deblur": told}, CPU).restorer(restored_with(told))

    check_padding(restored_with(deblur), SD15, None, restorer)
    with pytest.raises(ModelError) as refusal:
        check_padding(restored_with(told), SD15, None, restorer)

    assert str(refusal.value) == (
        "restorer deblur: padding must be at least the 4 px that its layers reach, got 0 px in "
        "the plan; set TILECHORD_UPSCALERS where plans are made to what "
        "`python -m workers.upscale.settings` prints"
    )


def test_a_restorer_this_worker_does_not_have_is_named(deblur):
    with pytest.raises(ModelError) as refusal:
        UpscalerCache({}, CPU).restorer(restored_with(deblur))

    assert str(refusal.value) == "this worker has no restorer 'deblur'; set TILECHORD_UPSCALERS"


def test_a_restorer_changed_since_planning_is_refused(deblur):
    render = restored_with(deblur)
    deblur.path.write_bytes(deblur.path.read_bytes() + b"x")

    with pytest.raises(ModelError, match=r"^restorer deblur: SHA-256 must be [0-9a-f]{12}…, got"):
        UpscalerCache({"deblur": deblur}, CPU).restorer(render)


def test_a_network_that_enlarges_restores_nothing(deblur):
    save_file(SRVGGNetCompact(features=8, convolutions=2, scale=2).state_dict(), deblur.path)
    other = deblur.model_copy(update={"sha256": file_sha256(deblur.path)})

    with pytest.raises(ModelError, match="must keep a picture's size"):
        UpscalerCache({"deblur": other}, CPU).restorer(restored_with(other))


def test_a_restorer_that_is_warm_enlarges_nothing(deblur):
    cache = UpscalerCache({"deblur": deblur}, CPU)
    cache.restorer(restored_with(deblur))
    enlarged = plan(upscale=2, upscaler="deblur")
    enlarged = replace(enlarged, revisions=enlarged.revisions | {"deblur": deblur.sha256})

    with pytest.raises(ModelError, match=r"must enlarge 2 times, got a network for 1$"):
        cache.get(enlarged)
