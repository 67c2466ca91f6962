"""The sixty prompts of the acceptance test, with what must be found in their pictures."""

from dataclasses import dataclass

import numpy as np

from workers.models.atlas_training.surface import DESERTS, WATERS, Survey, halves

# What a word asks for, as the subjects of a survey that satisfy it.
KINDS = {
    "sea": WATERS,
    "ocean": WATERS,
    "turquoise": ("turquoise",),
    "snow": ("snow",),
    "desert": DESERTS,
    "forest": ("forest",),
    "steppe": ("steppe",),
    "mountains": ("mountains",),
}
FOUND = 0.08
ON_SIDE = 0.6


@dataclass(frozen=True)
class Ask:
    """A subject that must be found, on one half of the picture if *side* is given."""

    kind: str
    side: str | None = None


@dataclass(frozen=True)
class Prompt:
    """A prompt and everything it asks for."""

    text: str
    asks: tuple[Ask, ...]


def share(survey: Survey, kind: str) -> float:
    """The share of the picture that is *kind*."""
    return sum(survey.share(subject) for subject in KINDS[kind])


def is_found(survey: Survey, ask: Ask) -> bool:
    """Whether *ask* is met: enough of it, and most of that on the side asked for."""
    layer = np.sum([survey.of(subject) for subject in KINDS[ask.kind]], axis=0)
    if float(layer.mean()) < FOUND:
        return False
    if ask.side is None:
        return True
    return float(halves(layer)[ask.side].sum()) >= ON_SIDE * float(layer.sum())


def _single(*pairs: tuple[str, str]) -> tuple[Prompt, ...]:
    return tuple(Prompt(text, (Ask(kind),)) for text, kind in pairs)


def _double(*triples: tuple[str, str, str]) -> tuple[Prompt, ...]:
    return tuple(Prompt(text, (Ask(one), Ask(other))) for text, one, other in triples)


def _placed(*rows: tuple[str, str, str]) -> tuple[Prompt, ...]:
    return tuple(Prompt(text, (Ask(kind, side),)) for text, kind, side in rows)


SINGLE = _single(
    ("endless sand dunes, a golden desert everywhere", "desert"),
    ("a wide sandy desert seen from orbit", "desert"),
    ("red desert like mars, rust red land and red rock", "desert"),
    ("arid land, dunes, sand", "desert"),
    ("a lush green jungle, trees and rainforest", "forest"),
    ("dense green forest landscape", "forest"),
    ("woods, trees, forest, green", "forest"),
    ("rainforest from above, beautiful", "forest"),
    ("a frozen land of snow and ice", "snow"),
    ("glacier and polar ice, white", "snow"),
    ("ice cap, best quality satellite picture", "snow"),
    ("white snow fields in winter", "snow"),
    ("the deep blue ocean, nothing but water", "ocean"),
    ("dark ocean abyss, open sea", "ocean"),
    ("shallow coastal water, blue bay", "sea"),
    ("turquoise lagoon, coral reef, tropical water", "turquoise"),
    ("dry brown plains, steppe and prairie", "steppe"),
    ("savanna grassland, olive hills", "steppe"),
    ("rugged mountain range with peaks and ridges", "mountains"),
    ("alps, cliffs, high mountains", "mountains"),
)
DOUBLE = _double(
    ("desert shore beside a blue sea", "desert", "sea"),
    ("golden sand and deep ocean, a desert coast", "desert", "ocean"),
    ("green jungle coastline with blue water", "forest", "sea"),
    ("a forest peninsula in the dark ocean", "forest", "ocean"),
    ("snow and forest, trees under ice", "snow", "forest"),
    ("snow mountains above green forest", "snow", "forest"),
    ("frozen coast, ice and blue sea", "snow", "sea"),
    ("glacier beside the deep ocean", "snow", "ocean"),
    ("desert coast with turquoise shallows", "desert", "turquoise"),
    ("green islands in a turquoise lagoon", "forest", "turquoise"),
    ("savanna and jungle", "steppe", "forest"),
    ("brown plains beside a blue gulf", "steppe", "sea"),
    ("steppe and desert, dry and brown", "steppe", "desert"),
    ("snowy mountains with steppe", "snow", "steppe"),
    ("mountains and desert", "mountains", "desert"),
    ("mountain range at the sea, cliffs and ocean", "mountains", "sea"),
    ("rainforest with rugged mountains", "forest", "mountains"),
    ("red desert and blue ocean", "desert", "ocean"),
    ("grassland coast, shallow sea", "steppe", "sea"),
    ("snow capped mountains, white peaks and ridges", "snow", "mountains"),
)
PLACED = _placed(
    ("snow in the north, forest in the south", "snow", "north"),
    ("ice at the top of the picture, sea on the bottom", "snow", "north"),
    ("glacier to the south, ocean to the north", "snow", "south"),
    ("white snow on the left, blue water on the right", "snow", "west"),
    ("snow fields in the east, dark ocean in the west", "snow", "east"),
    ("desert in the south, sea in the north", "desert", "south"),
    ("sand on the top, deep ocean on the bottom", "desert", "north"),
    ("golden desert in the west, blue sea in the east", "desert", "west"),
    ("sandy desert on the right, ocean on the left", "desert", "east"),
    ("dunes to the north with jungle to the south", "desert", "north"),
    ("forest in the east, ocean in the west", "forest", "east"),
    ("jungle on the left, sea on the right", "forest", "west"),
    ("green land on the bottom, blue water on the top", "forest", "south"),
    ("rainforest in the north, deep sea in the south", "forest", "north"),
    ("ocean in the south, steppe in the north", "ocean", "south"),
    ("sea on the left and brown plains on the right", "sea", "west"),
    ("dark ocean on the top, savanna coast", "ocean", "north"),
    ("blue sea in the east, grassland in the west", "sea", "east"),
    ("steppe in the west, ocean in the east", "steppe", "west"),
    ("brown land on the bottom, sea on the top", "steppe", "south"),
)
HELD_OUT = frozenset(prompt.text for prompt in (*SINGLE, *DOUBLE, *PLACED))
# Prompt, negative prompt, and what the negative prompt must take away.
NEGATIVES = (
    ("coast", "desert, sand, dunes", "desert"),
    ("mountains", "snow, ice, snowy mountains", "snow"),
    ("islands and land", "forest, jungle, green land", "forest"),
    ("an imaginary planet", "ocean, sea, deep ocean, blue water", "sea"),
)
