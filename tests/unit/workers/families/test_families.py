import pytest
import torch

from app.cards import Catalogue, write_manifest
from app.domain.errors import ModelError, UnsupportedError
from tests.support.tiny_model import build_tiny_model
from workers.denoise import guided_denoiser
from workers.loading import load_model

PROMPTS = ["fog", "a map"]


def seen_by(network, monkeypatch):
    """The keyword arguments of each call of *network* from now on."""
    calls, forward = [], network.forward

    def record(*args, **kwargs):
        calls.append(kwargs)
        return forward(*args, **kwargs)

    monkeypatch.setattr(network, "forward", record)
    return calls


def latents(model, height, width):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, model.card.latent_channels, height, width, generator=generator)


def test_xl_is_told_the_size_of_the_tile_and_no_crop(sdxl_model, monkeypatch):
    calls = seen_by(sdxl_model.pipeline.unet, monkeypatch)
    denoiser = guided_denoiser(sdxl_model, sdxl_model.encode_prompts(PROMPTS), 3.0)

    with torch.inference_mode():
        denoiser(latents(sdxl_model, 12, 20), 1.0, 500)

    sizes = calls[0]["added_cond_kwargs"]["time_ids"].tolist()
    assert sizes == [[48, 80, 0, 0, 48, 80]] * 2


def test_the_negative_prompt_is_not_evaluated_without_guidance(family_model, monkeypatch):
    pipeline = family_model.pipeline
    network = pipeline.unet if hasattr(pipeline, "unet") else pipeline.transformer
    calls = seen_by(network, monkeypatch)
    prompts = family_model.encode_prompts(PROMPTS)
    x = latents(family_model, 8, 8)

    with torch.inference_mode():
        alone = guided_denoiser(family_model, prompts, 1.0)(x, 1.0, 500)
        guided = guided_denoiser(family_model, prompts, 3.0)(x, 1.0, 500)

    assert [len(call["encoder_hidden_states"]) for call in calls] == [1, 2]
    assert alone.shape == guided.shape == x.shape


def test_guidance_goes_on_from_the_negative_prompt_past_the_prompt(family_model):
    prompts = family_model.encode_prompts(PROMPTS)
    x = latents(family_model, 8, 8)

    with torch.inference_mode():
        negative, positive = family_model.predict(x, 2.0, 600, prompts).chunk(2)
        guided = guided_denoiser(family_model, prompts, 3.0)(x, 2.0, 600)

    torch.testing.assert_close(guided, negative + 3.0 * (positive - negative))


def test_a_stored_prompt_predicts_like_a_fresh_one(family_model):
    fresh = family_model.encode_prompts(PROMPTS)
    x = latents(family_model, 8, 8)

    stored = type(fresh).from_bytes(fresh.to_bytes())

    with torch.inference_mode():
        ours = guided_denoiser(family_model, stored, 3.0)(x, 1.0, 500)
        theirs = guided_denoiser(family_model, fresh, 3.0)(x, 1.0, 500)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_other_prompts_predict_another_picture(family_model):
    x = latents(family_model, 8, 8)

    def predict(prompt):
        prompts = family_model.encode_prompts(["", prompt])
        with torch.inference_mode():
            return guided_denoiser(family_model, prompts, 3.0)(x, 2.0, 600)

    assert (predict("a map") - predict("a cat")).abs().max() > 1e-4


def test_a_flow_knows_the_picture_once_no_noise_is_left(sd3_model):
    x = latents(sd3_model, 8, 8)
    prompts = sd3_model.encode_prompts(PROMPTS).without_negative()

    with torch.inference_mode():
        clean = sd3_model.predict(x, 1e-6, 0.001, prompts)

    torch.testing.assert_close(clean, x, atol=1e-4, rtol=0)


def test_a_prediction_type_nobody_knows_is_refused(tiny, monkeypatch):
    monkeypatch.setattr(
        tiny.pipeline, "scheduler", type(tiny.pipeline.scheduler)(prediction_type="sample")
    )
    tiny.pipeline.scheduler.register_to_config(prediction_type="flow")
    prompts = tiny.encode_prompts(PROMPTS)

    with pytest.raises(UnsupportedError, match=r"^prediction_type must be epsilon, .*'flow'$"):
        guided_denoiser(tiny, prompts, 1.0)(latents(tiny, 8, 8), 1.0, 500)


@pytest.mark.parametrize("family", ["sd", "sdxl", "sd3"])
def test_weights_that_cannot_be_read_are_one_sentence(tmp_path, family):
    folder = build_tiny_model(tmp_path / "broken", family=family)
    network = folder / ("transformer" if family == "sd3" else "unet")
    weights = network / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64])
    write_manifest(folder)

    with pytest.raises(ModelError) as caught:
        load_model(Catalogue([tmp_path]), "broken", torch.device("cpu"))

    assert str(caught.value).startswith("model broken cannot be loaded: ")
    assert "\n" not in str(caught.value)
