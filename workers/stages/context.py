"""What every stage works with: the store, and the models of this process."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from diffusers import ControlNetModel
from numpy.typing import NDArray

from app.domain.plan import RenderPlan
from app.domain.spec import ControlSpec
from app.pictures.codecs import decode_array, encode_array
from app.pictures.reading import read_mask, read_picture
from app.storage.port import BlobStore
from workers.families.conditioning import Conditioning
from workers.families.model import Model
from workers.loading import ModelCache
from workers.upscaling import UpscalerCache

Array = NDArray[np.float32]
Check = Callable[[], None]
"""Called before every part of a unit that may take a second: a denoising step, a layer of an
autoencoder, a blob of many; raises when the job has ended."""
_KEPT_BLOBS = 6  # bands, statistics and embeddings of the job at hand: its tiles share them
_KEPT_MASKS = 8
_KEPT_PROMPTS = 128  # one for each region


class Context:
    """Blobs, models and upscalers of this process."""

    def __init__(
        self, store: BlobStore, models: ModelCache, upscalers: UpscalerCache, max_input_mpx: float
    ) -> None:
        self.store = store
        self.upscalers = upscalers
        self.max_input_mpx = max_input_mpx
        self._models = models
        self.shared_array = lru_cache(maxsize=_KEPT_BLOBS)(self.array)
        self.shared_picture = lru_cache(maxsize=1)(self.picture)
        self.shared_mask = lru_cache(maxsize=_KEPT_MASKS)(self.mask)
        self.shared_prompts = lru_cache(maxsize=_KEPT_PROMPTS)(self.prompts)

    def model(self, plan: RenderPlan, name: str) -> Model:
        """Model *name* at the plan's revision."""
        return self._models.get(plan, name)

    def array(self, key: str) -> Array:
        """The array stored under *key*."""
        return decode_array(self.store.get(key))

    def control(self, plan: RenderPlan, control: ControlSpec, model: Model) -> ControlNetModel:
        """The network of *control* at the plan's revision, for *model*."""
        return self._models.control(plan, control, model.dtype)

    def picture(self, key: str) -> Array:
        """``(H, W, 3)`` float32 in ``[0, 1]`` of the user's picture stored under *key*."""
        picture = read_picture(self.store.get(key), field="init_image", max_mpx=self.max_input_mpx)
        return picture.astype(np.float32) / 255.0

    def mask(self, key: str, field: str) -> Array:
        """The uploaded mask under *key*, of the request's *field*: ``(H, W)`` in ``[0, 1]``."""
        mask = read_mask(self.store.get(key), field=field, max_mpx=self.max_input_mpx)
        return np.asarray(mask / 255.0, np.float32)

    def prompts(self, key: str) -> Conditioning:
        """The encoded prompts stored under *key*."""
        return Conditioning.from_bytes(self.store.get(key))

    def put(self, key: str, array: Array) -> None:
        """Store *array* under *key*."""
        self.store.put(key, encode_array(array))
