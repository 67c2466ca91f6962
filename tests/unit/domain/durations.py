"""Shapes, durations that were seen of them, and what is predicted from those."""

import math
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from app.domain.eta import eta_s
from app.domain.prediction import Predictor, Shape

TILE = Shape("atlas", "tile", 100.0, "cpu")

shapes = st.builds(
    Shape,
    model=st.sampled_from(["atlas", "xl"]),
    stage=st.sampled_from(["tile", "core"]),
    area=st.floats(0.1, 1e9) | st.integers(1, 10**9),
    device=st.sampled_from(["cpu", "cuda", ""]),
)
seconds = st.floats(1e-3, 1e5)
observations = st.lists(st.tuples(shapes, seconds), max_size=15)


def taught(*pairs, most_shapes=1000):
    predictor = Predictor(most_shapes)
    for shape, took_s in pairs:
        predictor.observe(shape, took_s)
    return predictor


def lognormal(median_s, spread, count, seed=0):
    return [
        float(s) for s in np.random.default_rng(seed).lognormal(math.log(median_s), spread, count)
    ]


def left_s(pending, predictor, crew, *, ahead_s=0.0):
    """The end of *pending*, done by workers counted by device."""
    devices = [device for device, count in crew.items() for _ in range(count)]

    def times(shape):
        return np.array([predictor.predict(replace(shape, device=device)) for device in devices])

    return eta_s(pending, [0.0] * len(devices), times, ahead_s=ahead_s)
