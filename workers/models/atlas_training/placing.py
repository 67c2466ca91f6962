"""Captions that say where things lie, and what they ask of each quarter of the picture."""

from dataclasses import dataclass

import numpy as np

from workers.models.atlas_training.captions import join_phrases, place_words
from workers.models.atlas_training.latents import BIOMES
from workers.models.atlas_training.prompts import HELD_OUT
from workers.models.atlas_training.surface import WATERS
from workers.models.atlas_training.text import caption_words
from workers.models.atlas_training.words import (
    COAST,
    DROPPED,
    ISLANDS,
    OPPOSITE,
    SIDES,
    SNOW_MOUNTAINS,
    WORDS,
)

# The rest asks for the same everywhere, and holds the networks to what they were.
PLACED = 0.65
ALONE, UNSAID = 0.2, 0.2
LOOSE, SCATTERED = 0.3, 0.2
"""Of the captions without positions, those joined by other words, and mere words in any order."""
LINKS = (
    " in the ", " at the ", " on the ", " to the ", " in a ", " beside a ", " beside the ",
    " under ", " above ", " near ", " around ", " and a ", " of ", " with a ", " ",
)  # fmt: skip
"""Between things that lie nowhere in particular: "islands in the ocean" names no side."""
QUARTERS = range(4)
"""North-west, north-east, south-west, south-east."""
_SIDE_WORDS = {word for words in SIDES.values() for word in words}
_UNPLACED = sorted(set(caption_words()) - _SIDE_WORDS)
QUARTERS_OF = {"north": (0, 1), "south": (2, 3), "west": (0, 2), "east": (1, 3)}


@dataclass(frozen=True)
class Phrase:
    """Words of a caption that belong together, and the quarters they speak of."""

    words: str
    quarters: tuple[int, ...]


@dataclass(frozen=True)
class Placement:
    """A caption, the text it stands for in each quarter, and its phrases in their order."""

    caption: str
    quarters: tuple[str, ...]
    phrases: tuple[Phrase, ...]

    @property
    def is_placed(self) -> bool:
        """Whether the quarters differ."""
        return len(set(self.quarters)) > 1


def write_placement(rng: np.random.Generator) -> Placement:
    """A caption with positions, or one without; never a prompt of the acceptance test."""
    placement = _sides(rng) if rng.random() < PLACED else write_plain(rng)
    return write_placement(rng) if placement.caption in HELD_OUT else placement


def write_plain(rng: np.random.Generator) -> Placement:
    """A caption without positions, which stands for itself everywhere."""
    if rng.random() < DROPPED:
        return Placement("", ("",) * 4, ())
    if rng.random() < SCATTERED:
        words = " ".join(rng.choice(_UNPLACED, int(rng.integers(1, 9))))
        return Placement(words, (words,) * 4, (Phrase(words, tuple(QUARTERS)),))
    subjects = rng.choice(list(WORDS), int(rng.integers(1, 4)), replace=False)
    phrases = [_words(str(subject), rng) for subject in subjects]
    if rng.random() < 0.25:
        phrases.insert(0, str(rng.choice(ISLANDS + SNOW_MOUNTAINS + COAST)))
    phrases = list(dict.fromkeys(phrases))
    is_loose = rng.random() < LOOSE
    caption = _loosely_joined(phrases, rng) if is_loose else join_phrases(list(phrases), rng)
    everywhere = tuple(Phrase(words, tuple(QUARTERS)) for words in phrases)
    return Placement(caption, (caption,) * 4, everywhere)


def _loosely_joined(phrases: list[str], rng: np.random.Generator) -> str:
    links = [str(rng.choice(LINKS)) for _ in phrases]
    text = phrases[0] + "".join(map("".join, zip(links, phrases[1:], strict=False)))
    return f"{rng.choice(('a ', 'the ', ''))}{text}"


def _sides(rng: np.random.Generator) -> Placement:
    """One subject on a side, or two on opposite ones, of which one may leave its side unsaid."""
    first, second = rng.choice(len(BIOMES), 2, replace=False)
    here, there = (_words(str(rng.choice(BIOMES[biome])), rng) for biome in (first, second))
    side = str(rng.choice(list(OPPOSITE)))
    near, far = QUARTERS_OF[side], QUARTERS_OF[OPPOSITE[side]]
    phrases = [Phrase(_said(here, side, rng), near)]
    if rng.random() < ALONE:
        there = ""
    else:
        is_unsaid = rng.random() < UNSAID
        words = there if is_unsaid else place_words(there, OPPOSITE[side], rng)
        phrases.append(Phrase(words, far))
        if rng.random() < 0.5:
            phrases.reverse()
    caption = join_phrases([phrase.words for phrase in phrases], rng)
    quarters = tuple(here if quarter in near else there for quarter in QUARTERS)
    return Placement(caption, quarters, tuple(phrases))


def _said(words: str, side: str, rng: np.random.Generator) -> str:
    """*words* with their *side*, which is never left unsaid here."""
    while (placed := place_words(words, side, rng)) == words:
        continue
    return placed


def _words(subject: str, rng: np.random.Generator) -> str:
    words = str(rng.choice(WORDS[subject]))
    is_coast = subject not in WATERS and rng.random() < 0.15
    return f"{words} {rng.choice(COAST)}" if is_coast else words
