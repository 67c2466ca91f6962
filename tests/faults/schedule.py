"""When which fault strikes: a function of the seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from tests.faults.blob_faults import BLOB_FAULTS
from tests.faults.nemesis import Nemesis
from tests.faults.network_faults import NETWORK_FAULTS
from tests.faults.process_faults import PROCESS_FAULTS
from tests.faults.server_faults import SERVER_FAULTS

ALL: dict[str, type[Nemesis]] = {
    nemesis.name: nemesis
    for nemesis in [*PROCESS_FAULTS, *SERVER_FAULTS, *BLOB_FAULTS, *NETWORK_FAULTS]
}
_RECOVERY_S = 6.0
"""What a subject gets to recover before it is hurt again; a restarted broker takes longest."""


@dataclass(frozen=True)
class Strike:
    """One fault to come."""

    at_s: float
    name: str
    hold_s: float
    seed: int


def schedule(seed: int, *, seconds: float, faults: int, names: Iterable[str] = ALL) -> list[Strike]:
    """*faults* strikes over *seconds*, every class as often as any other, one subject at a time."""
    random = Random(seed)
    deck = _deck(random, sorted(names))
    free_at: dict[str, float] = {}
    strikes: list[Strike] = []
    waiting: list[str] = []
    for number in range(faults):
        at_s = (number + random.uniform(0.2, 0.8)) * seconds / faults
        name = _next(deck, waiting, free_at, at_s)
        nemesis = ALL[name]
        hold_s = round(random.uniform(*nemesis.hold_s), 2)
        if nemesis.subject:
            free_at[nemesis.subject] = at_s + hold_s + _RECOVERY_S
        strikes.append(Strike(round(at_s, 2), name, hold_s, random.randrange(2**32)))
    return strikes


def _deck(random: Random, names: Sequence[str]) -> Iterator[str]:
    """Shuffled again whenever it is used up."""
    while True:
        yield from random.sample(names, len(names))


def _next(deck: Iterator[str], waiting: list[str], free_at: dict[str, float], at_s: float) -> str:
    """The first class whose subject is free; those passed over come first the next time."""
    while len(waiting) < len(ALL):
        waiting.append(next(deck))
    chosen = next(
        (name for name in waiting if free_at.get(ALL[name].subject, 0.0) <= at_s), waiting[0]
    )
    waiting.remove(chosen)
    return chosen
