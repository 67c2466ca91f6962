"""The upscalers and restorers of this process: bundled or the installation's own, kept warm."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch

from app.cards import file_sha256
from app.domain.card import ModelCard
from app.domain.decoding import room_behind_decoder
from app.domain.errors import ModelError
from app.domain.plan import RenderPlan
from app.planning import BUNDLED_UPSCALER
from app.settings import UpscalerFile
from workers.upscale.load import Upscaler, load_restorer, load_upscaler

_WARM = 4  # a restorer and an upscaler of two jobs whose cores take turns


class UpscalerCache:
    """Upscalers by name and scale, restorers among them at scale 1, loaded at first use."""

    def __init__(self, files: Mapping[str, UpscalerFile], device: torch.device) -> None:
        self._files = files
        self._device = device
        self._load = lru_cache(maxsize=_WARM)(self._read)

    def get(self, plan: RenderPlan) -> Upscaler:
        """The upscaler of *plan*. Raises ``ModelError`` when it is not what was planned with."""
        name = plan.spec.upscaler
        return self._load(name, plan.spec.upscale, plan.revisions[name])

    def restorer(self, plan: RenderPlan) -> Upscaler:
        """The restorer of *plan*, which names one. Raises as ``get``."""
        name = str(plan.spec.restore)
        return self._load(name, 1, plan.revisions[plan.spec.restorer_label])

    def _read(self, name: str, scale: int, revision: str) -> Upscaler:
        if name == BUNDLED_UPSCALER.name and scale > 1:
            return load_upscaler(name, scale, self._device)
        kind = "restorer" if scale == 1 else "upscaler"
        if name not in self._files:
            raise ModelError(f"this worker has no {kind} {name!r}; set TILECHORD_UPSCALERS")
        file = self._files[name]
        if (found := file_sha256(file.path)) != revision:
            raise ModelError(f"{kind} {name}: SHA-256 must be {revision[:12]}…, got {found[:12]}…")
        if scale == 1:
            return load_restorer(file.path, self._device)
        return load_upscaler(str(file.path), scale, self._device)


def check_padding(
    plan: RenderPlan,
    card: ModelCard,
    upscaler: Upscaler | None,
    restorer: Upscaler | None = None,
) -> None:
    """Refuse a *plan* that leaves its networks less context than their layers reach.

    It was made where no network can be loaded, with the paddings that were told there. Raises
    ``ModelError``.
    """
    spec = plan.spec
    named = ((spec.restorer_label, restorer), (f"upscaler {spec.upscaler}", upscaler))
    paddings = {name: network.padding for name, network in named if network}
    needed = sum(paddings.values())
    room = room_behind_decoder(card, plan.decode, tiny=spec.decoder == "tiny")
    if paddings and needed > room:
        raise ModelError(
            f"{' and '.join(paddings)}: padding must be at least the {needed} px "
            f"that {'its' if len(paddings) == 1 else 'their'} layers reach, got {room} px in the "
            "plan; set TILECHORD_UPSCALERS where plans are made to what "
            "`python -m workers.upscale.settings` prints"
        )
