"""The GPU's part of a render: base picture, preparation, tiles and cores."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from app.canvas import band_boxes, read_window, write_band
from app.domain.errors import InvalidPlanError
from app.domain.geometry import Box
from app.domain.noise import Stream, noise_field
from app.domain.plan import RenderPlan, canonical_json
from app.domain.schedule import Steps
from app.domain.work import Stage, Work, image_key
from app.pictures.codecs import decode_array, encode_array, encode_pixels
from app.pictures.reading import read_picture
from app.storage.port import BlobStore
from workers.denoise import denoise, guided_denoiser
from workers.enlarge import Enlarger, native_picture
from workers.loading import Model, ModelCache
from workers.upscaling import UpscalerCache
from workers.vae import decode, encode, measure

Latents = NDArray[np.float32]
Check = Callable[[], None]
_KEPT_BLOBS = 6  # bands, statistics and embeddings of the job at hand: its tiles share them


class Renderer:
    """Renders units of work from blobs to blobs."""

    def __init__(
        self, store: BlobStore, models: ModelCache, upscalers: UpscalerCache, max_input_mpx: float
    ) -> None:
        self._store = store
        self._models = models
        self._upscalers = upscalers
        self._max_input_mpx = max_input_mpx
        self._shared_array = lru_cache(maxsize=_KEPT_BLOBS)(self._array)

    def render(self, plan: RenderPlan, work: Work, check: Check) -> bytes:
        """The blob of *work*; *check* is called before every denoising step and may raise."""
        match work.stage:
            case Stage.BASE:
                return self._base(plan, work, check)
            case Stage.PREPARE:
                return self._prepare(plan, work)
            case Stage.TILE:
                return self._tile(plan, work, check)
            case Stage.CORE:
                return self._core(plan, work)
            case _:
                raise InvalidPlanError(f"{work.stage} is no work for a renderer")

    def _base(self, plan: RenderPlan, work: Work, check: Check) -> bytes:
        if plan.base is None:
            raise InvalidPlanError("this plan has no base picture")
        model = self._model(plan, plan.spec.base_model)
        box = Box(0, 0, plan.base.height, plan.base.width)
        noise = noise_field(
            box,
            model.card.latent_channels,
            seed=plan.spec.seed,
            stream=Stream.BASE,
            image=work.image,
        )
        text = _encode_prompts(model, plan)
        latents = _walk(
            plan, model, text, plan.base.steps.noise_scale * noise, check, plan.base.steps
        )
        return encode_array(decode(model.vae, latents))

    def _prepare(self, plan: RenderPlan, work: Work) -> bytes:
        """Embeddings; with a picture to start from also canvas latents and VAE statistics."""
        model = self._model(plan, plan.spec.refine_model)
        self._put(plan, work, "prompt", _encode_prompts(model, plan))
        if plan.starts_from_picture:
            picture = self._starting_picture(plan, work)
            native = native_picture(picture, model.card)
            encoder = measure(model.vae.encoder, lambda: encode(model.vae, native))
            latents = encode(model.vae, native)
            decoder = measure(model.vae.decoder, lambda: decode(model.vae, latents))
            self._put(plan, work, "statistics", decoder)
            enlarger = Enlarger(plan, picture)
            for number, band in enumerate(band_boxes(plan)):
                latents = enlarger.latents(band, lambda pixels: encode(model.vae, pixels, encoder))
                write_band(self._store, plan, work.image, 0, number, latents)
        return canonical_json({"model": model.card.name})

    def _tile(self, plan: RenderPlan, work: Work, check: Check) -> bytes:
        model = self._model(plan, plan.spec.refine_model)
        phase = plan.phases[work.phase]
        box = phase.tiles[work.index]
        x = phase.steps.noise_scale * noise_field(
            box,
            plan.latent_channels,
            seed=plan.spec.seed,
            stream=Stream.INITIAL,
            image=work.image,
        )
        if plan.starts_from_picture:
            x = x + read_window(plan, work.image, work.phase, box, self._shared_array)
        text = self._shared_array(image_key(plan, work.image, "prompt"))
        return encode_array(_walk(plan, model, text, x, check, phase.steps))

    def _core(self, plan: RenderPlan, work: Work) -> bytes:
        model = self._model(plan, plan.spec.refine_model)
        core = plan.decode.cores[work.index]
        padded = core.padded(plan.decode.padding, within=plan.canvas)
        latents = read_window(plan, work.image, len(plan.phases), padded, self._shared_array)
        statistics = (
            self._shared_array(image_key(plan, work.image, "statistics"))
            if plan.decode.freeze_statistics
            else None
        )
        pixels = decode(model.vae, latents, statistics)
        if plan.spec.upscale > 1:
            pixels = self._upscalers.get(plan)(pixels)
        scale = plan.latent_scale * plan.spec.upscale
        window = plan.core_pixels(work.index).relative_to(padded.scaled(scale)).window
        return encode_pixels(np.round(pixels[window] * 255.0).astype(np.uint8))

    def _starting_picture(self, plan: RenderPlan, work: Work) -> NDArray[np.float32]:
        """``(H, W, 3)`` float32 in ``[0, 1]``: the user's picture, else the base."""
        if plan.spec.init_image is None:
            return self._array(Work(Stage.BASE, work.image).key(plan))
        data = self._store.get(plan.spec.init_image)
        picture = read_picture(data, field="init_image", max_mpx=self._max_input_mpx)
        return picture.astype(np.float32) / 255.0

    def _model(self, plan: RenderPlan, name: str) -> Model:
        return self._models.get(name, plan.revisions[name])

    def _array(self, key: str) -> NDArray[np.float32]:
        return decode_array(self._store.get(key))

    def _put(self, plan: RenderPlan, work: Work, name: str, array: NDArray[np.float32]) -> None:
        self._store.put(image_key(plan, work.image, name), encode_array(array))


def _encode_prompts(model: Model, plan: RenderPlan) -> NDArray[np.float32]:
    return model.encode_prompts([plan.spec.negative_prompt, plan.spec.prompt])


def _walk(
    plan: RenderPlan,
    model: Model,
    text: NDArray[np.float32],
    x: NDArray[np.float32],
    check: Check,
    steps: Steps,
) -> Latents:
    """Denoise *x* ``(C, H, W)`` under the plan's prompt."""
    denoiser = guided_denoiser(model, torch.from_numpy(text), plan.spec.guidance)
    start = torch.from_numpy(x)[None]
    result = denoise(denoiser, start, steps, plan.spec.sampler, check)
    return np.asarray(result[0].cpu().numpy())
