"""The upscalers of this process: the bundled one and the installation's own, kept warm."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch

from app.cards import file_sha256
from app.domain.card import ModelCard
from app.domain.decoding import upscaler_room
from app.domain.errors import ModelError
from app.domain.plan import RenderPlan
from app.planning import BUNDLED_UPSCALER
from app.settings import UpscalerFile
from workers.upscale.load import Upscaler, load_upscaler

_WARM = 2


class UpscalerCache:
    """Upscalers by name and scale, loaded at first use."""

    def __init__(self, files: Mapping[str, UpscalerFile], device: torch.device) -> None:
        self._files = files
        self._device = device
        self._load = lru_cache(maxsize=_WARM)(self._read)

    def get(self, plan: RenderPlan) -> Upscaler:
        """The upscaler of *plan*. Raises ``ModelError`` when it is not what was planned with."""
        name = plan.spec.upscaler
        return self._load(name, plan.spec.upscale, plan.revisions[name])

    def _read(self, name: str, scale: int, revision: str) -> Upscaler:
        if name == BUNDLED_UPSCALER.name:
            return load_upscaler(name, scale, self._device)
        if name not in self._files:
            raise ModelError(f"this worker has no upscaler {name!r}; set TILECHORD_UPSCALERS")
        file = self._files[name]
        if (found := file_sha256(file.path)) != revision:
            raise ModelError(
                f"upscaler {name}: SHA-256 must be {revision[:12]}…, got {found[:12]}…"
            )
        return load_upscaler(str(file.path), scale, self._device)


def check_padding(plan: RenderPlan, card: ModelCard, upscaler: Upscaler) -> None:
    """Refuse a *plan* that leaves *upscaler* less context than its layers reach.

    It was made where the network cannot be loaded, with a padding that was told there. Raises
    ``ModelError``.
    """
    room = upscaler_room(card, plan.decode, tiny=plan.spec.decoder == "tiny")
    if upscaler.padding > room:
        raise ModelError(
            f"upscaler {plan.spec.upscaler}: padding must be at least the {upscaler.padding} px "
            f"that its layers reach, got {room} px in the plan; set TILECHORD_UPSCALERS where "
            "plans are made to what `python -m workers.upscale.settings` prints"
        )
