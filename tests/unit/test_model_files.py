import json
import math
import shutil
from dataclasses import replace

import pytest

from app.cards import Catalogue, write_manifest
from app.domain.errors import ModelError, UnsupportedError
from app.domain.schedule import FlowSchedule, NoiseSchedule
from tests.support.tiny_model import FAMILIES, build_tiny_model
from tests.unit.domain.cards import SD15, plan


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for family in FAMILIES:
        build_tiny_model(root / family, family=family)
    return root


@pytest.fixture
def models(originals, tmp_path):
    """A folder with a model of each family, to be changed."""
    return shutil.copytree(originals, tmp_path / "models")


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def card(models, name):
    write_manifest(models / name)  # a card is kept for as long as its files are the same
    return Catalogue([models]).card(name)


def refusal(models, name, error):
    with pytest.raises(error) as caught:
        card(models, name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "family", "channels", "grid", "longest_side", "schedule"),
    [
        ("sd", "sd", 4, (1, 2), None, NoiseSchedule()),
        ("sd-v", "sd", 4, (1, 2), None, NoiseSchedule()),
        ("sdxl", "sdxl", 4, (1, 2), None, NoiseSchedule()),
        ("sd3", "sd3", 16, (2, 2), 192, FlowSchedule(shift=3.0, last_time=0.003 / 1.002)),
    ],
    ids=FAMILIES,
)
def test_each_family_is_recognised(models, name, family, channels, grid, longest_side, schedule):
    found = card(models, name)

    assert (found.family, found.native_size, found.latent_scale) == (family, 64, 4)
    assert (found.latent_channels, found.alignment, found.halving) == (channels, *grid)
    assert found.longest_side == longest_side
    assert found.schedule == schedule


@pytest.mark.parametrize(
    ("name", "guidance", "sampler", "nsr"),
    [("sd", 6.0, "dpm++2m", 0.7), ("sdxl", 5.0, "dpm++2m", 0.7), ("sd3", 4.5, "euler", 0.5)],
    ids=["sd", "sdxl", "sd3"],
)
def test_a_model_that_says_nothing_takes_its_familys_defaults(models, name, guidance, sampler, nsr):
    (models / name / "tilechord.json").unlink()

    found = card(models, name)

    assert (found.default_guidance, found.default_sampler) == (guidance, sampler)
    assert found.default_nsr == nsr


def test_what_a_model_says_of_itself_goes_before_its_familys_defaults(models):
    change(models / "sd3" / "tilechord.json", default_nsr=0.4, default_guidance=7.0)

    found = card(models, "sd3")

    assert (found.default_nsr, found.default_guidance) == (0.4, 7.0)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("exponential", math.exp), ("linear", lambda mu: mu)],
    ids=["exponential", "linear"],
)
def test_a_shift_that_depends_on_the_size_is_that_of_the_native_size(models, kind, expected):
    path = models / "sd3" / "scheduler" / "scheduler_config.json"
    change(path, use_dynamic_shifting=True, time_shift_type=kind)

    found = card(models, "sd3").schedule

    mu = 0.5 + (1.15 - 0.5) * (64 - 256) / (4096 - 256)  # 64 tokens: 16x16 latents by 2x2
    assert found.shift == pytest.approx(expected(mu))
    assert found.last_time == 0.001


def test_tiles_and_canvases_of_any_size_walk_by_the_same_sigmas():
    flow = replace(SD15, family="sd3", alignment=2, schedule=FlowSchedule(shift=3.0))
    plans = [
        plan(flow, height=height, width=width, tile=tile)
        for height, width, tile in [(1536, 2048, 512), (1544, 2056, 512), (1000, 3000, 432)]
    ]

    walks = {tuple(phase.steps for phase in order.phases) for order in plans}
    bases = {order.base.steps for order in plans}

    assert len(walks) == len(bases) == 1


def test_another_kind_of_model_is_refused(models):
    change(
        models / "sd3" / "model_index.json",
        _class_name="FluxPipeline",
        transformer=["diffusers", "FluxTransformer2DModel"],
    )

    assert refusal(models, "sd3", UnsupportedError) == (
        "model sd3 must be of the Stable Diffusion 1/2, XL or 3 kind, got FluxPipeline"
    )


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("sd", "text_encoder"),
        ("sdxl", "text_encoder"),
        ("sdxl", "text_encoder_2"),
        ("sd3", "text_encoder"),
        ("sd3", "text_encoder_2"),
    ],
)
def test_a_missing_text_encoder_is_named(models, name, encoder):
    change(models / name / "model_index.json", **{encoder: [None, None]})

    assert refusal(models, name, ModelError) == (
        f"model {name} must have a {encoder}, its model_index.json has none"
    )


def test_another_kind_of_vae_is_refused(models):
    change(models / "sd" / "model_index.json", vae=["diffusers", "AsymmetricAutoencoderKL"])

    assert refusal(models, "sd", UnsupportedError) == (
        "model sd must have a VAE of class AutoencoderKL, got AsymmetricAutoencoderKL"
    )


def test_a_network_that_wants_more_than_latents_is_refused(models):
    change(models / "sdxl" / "unet" / "config.json", in_channels=9)

    assert refusal(models, "sdxl", UnsupportedError) == (
        "model sdxl: in_channels must be the VAE's 4, got 9; "
        "models for inpainting or depth are not supported"
    )


def test_a_network_that_takes_guidance_as_an_input_is_refused(models):
    change(models / "sd" / "unet" / "config.json", time_cond_proj_dim=256)

    assert refusal(models, "sd", UnsupportedError) == (
        "model sd: models that take guidance as an input (time_cond_proj_dim) are not supported"
    )


@pytest.mark.parametrize(
    ("name", "scheduler", "rule"),
    [
        ("sd", "FlowMatchEulerDiscreteScheduler", "sd must not be"),
        ("sdxl", "FlowMatchEulerDiscreteScheduler", "sdxl must not be"),
        ("sd3", "DDIMScheduler", "sd3 must be"),
    ],
    ids=["sd", "sdxl", "sd3"],
)
def test_a_scheduler_of_another_family_is_refused(models, name, scheduler, rule):
    path = models / name / "scheduler" / "scheduler_config.json"
    change(path, _class_name=scheduler)

    assert refusal(models, name, UnsupportedError) == (
        f"scheduler_config.json: a scheduler of family {rule} of flow matching, got {scheduler}"
    )


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("sd", "rescale_betas_zero_snr"),
        ("sd3", "use_karras_sigmas"),
        ("sd3", "use_beta_sigmas"),
        ("sd3", "invert_sigmas"),
    ],
)
def test_a_schedule_that_would_be_walked_wrongly_is_refused(models, name, option):
    change(models / name / "scheduler" / "scheduler_config.json", **{option: True})

    assert refusal(models, name, UnsupportedError) == (
        f"scheduler_config.json: {option} is not supported"
    )


SIZES = "must name each tile by its size of 1 to 9999 px"


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("default_step", 30, "is not a field of a card"),
        ("default_steps", "30", "should be a valid integer, got '30'"),
        ("default_sampler", "foo", "should be 'ddim', 'euler' or 'dpm++2m', got 'foo'"),
        ("default_nsr", 0, "should be greater than 0, got 0"),
        ("default_guidance", math.nan, "should be a finite number, got nan"),
        ("native_size", 512.5, "should be a valid integer, got 512.5"),
        ("control", "", "should have at least 1 character, got ''"),
        ("memory_gb", -1, "should be greater than 0, got -1"),
        ("memory_gb", "8", "should be a valid number, got '8'"),
        ("tile_costs", {"big": 0.1}, f"{SIZES}, got {{'big': 0.1}}"),
        ("tile_costs", {"0512": 0.1}, f"{SIZES}, got {{'0512': 0.1}}"),
        ("tile_costs", [512], "should be a valid dictionary, got [512]"),
    ],
)
def test_a_card_that_breaks_a_rule_is_told_with_file_field_rule_and_value(
    models, field, value, rule
):
    path = models / "sd" / "tilechord.json"
    change(path, **{field: value})

    assert refusal(models, "sd", ModelError) == f"model file {path}: {field} {rule}"


def test_the_cost_of_a_tile_is_told_with_its_size(models):
    path = models / "sd" / "tilechord.json"
    change(path, tile_costs={"64": 0.1, "96": 0})

    assert refusal(models, "sd", ModelError) == (
        f"model file {path}: tile_costs.96 should be greater than 0, got 0"
    )


def test_a_model_may_tell_the_memory_that_it_needs(models):
    guessed = card(models, "sd").memory_gb
    change(models / "sd" / "tilechord.json", memory_gb=9)

    assert guessed < 1
    assert card(models, "sd").memory_gb == 9.0
