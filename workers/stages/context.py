"""What every stage works with: the store, and the models of this process."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from app.domain.plan import RenderPlan
from app.domain.work import Work, image_key
from app.pictures.codecs import decode_array, encode_array
from app.storage.port import BlobStore
from workers.families.conditioning import Conditioning
from workers.families.model import Model
from workers.loading import ModelCache
from workers.upscaling import UpscalerCache

Array = NDArray[np.float32]
Check = Callable[[], None]
"""Called before every denoising step; raises when the job has ended."""
_KEPT_BLOBS = 6  # bands, statistics and embeddings of the job at hand: its tiles share them
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
        self.shared_prompts = lru_cache(maxsize=_KEPT_PROMPTS)(self.prompts)

    def model(self, plan: RenderPlan, name: str) -> Model:
        """Model *name* at the plan's revision."""
        return self._models.get(name, plan.revisions[name])

    def array(self, key: str) -> Array:
        """The array stored under *key*."""
        return decode_array(self.store.get(key))

    def prompts(self, key: str) -> Conditioning:
        """The encoded prompts stored under *key*."""
        return Conditioning.from_bytes(self.store.get(key))

    def put(self, plan: RenderPlan, work: Work, name: str, array: Array) -> None:
        """Store *array* as *name* of the image that *work* belongs to."""
        self.store.put(image_key(plan, work.image, name), encode_array(array))
