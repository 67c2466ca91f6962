"""Whether what a network made can be used at all."""

from __future__ import annotations

import numpy as np

from app.domain.errors import RenderFailedError
from workers.stages.context import Array


def finite(values: Array, what: str) -> Array:
    """*values*, which are stored or shown next; blobs are written once, so none may be unusable.

    Raises ``RenderFailedError`` that names *what* when one of them is NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise RenderFailedError(
            f"{what} came out with NaN or infinity; some models overflow in float16"
        )
    return values
