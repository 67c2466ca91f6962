"""What a pool's queue is bound to: a type of work and a model, as words of a routing key."""

from __future__ import annotations

import re

from app.domain.work import WORKER_STAGES, Stage

TYPE_OF = {
    Stage.BASE: "base",
    Stage.PREPARE: "base",
    Stage.TILE: "tile",
    Stage.HEAD: "upscale",
    Stage.CORE: "upscale",
    Stage.MERGE: "finish",
    Stage.PICTURE: "finish",
}
RENDERING_TYPES = frozenset(TYPE_OF[stage] for stage in WORKER_STAGES)
_TYPES = ("plan", *dict.fromkeys(TYPE_OF.values()))


def routing_word(name: str) -> str:
    """*name* as one word of a routing key."""
    return _as_words(name, "a-z0-9_-")


def read_binding(text: str) -> str:
    """The binding ``TYPE.MODEL`` as routing keys spell it: ``tile.SD 1.5`` is ``tile.sd-1-5``.

    Raises ``ValueError`` with the rule that *text* breaks.
    """
    kind, dot, model = text.partition(".")
    if text == "#":
        return text
    if kind not in {*_TYPES, "*", "#"}:
        raise ValueError(f"must be bound to types {', '.join(_TYPES)} or *, got {text!r}")
    if not dot or not model:
        raise ValueError(f"must have bindings TYPE.MODEL, with * for any model, got {text!r}")
    return f"{kind}.{_as_words(model, 'a-z0-9_*#-')}"


def is_rendering(binding: str) -> bool:
    """Whether what matches *binding* may need a model."""
    return binding.partition(".")[0] in {*RENDERING_TYPES, "*", "#"}


def matches(binding: str, routing_key: str) -> bool:
    """AMQP topic match: ``*`` is one word, ``#`` any number of them."""
    regex = re.escape(binding).replace(r"\*", r"[^.]+").replace(r"\#", ".*")
    return re.fullmatch(regex, routing_key) is not None


def _as_words(name: str, characters: str) -> str:
    return re.sub(f"[^{characters}]", "-", name.lower())
