"""Looking between a network's layers whether its work is still wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def before_layers(network: nn.Module, check: Callable[[], None]) -> Iterator[None]:
    """Call *check*, which may raise, before every layer of *network* meanwhile.

    Large parts of a picture go through an autoencoder or an upscaler at once: for up to half a
    minute on a CPU, a layer of it in a second or two. Nothing that a layer sees is changed.
    """

    def look(layer: nn.Module, inputs: object) -> None:
        del layer, inputs
        check()

    layers = [part for part in network.modules() if not any(True for _ in part.children())]
    handles = [layer.register_forward_pre_hook(look) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
