"""Captions for crops: what is there, how much, and where, in varied words."""

from dataclasses import dataclass

import numpy as np

from workers.models.atlas_training.prompts import HELD_OUT
from workers.models.atlas_training.surface import DESERTS, SUBJECTS, WATERS, Survey, halves
from workers.models.atlas_training.words import (
    CENTRE,
    COAST,
    DROPPED,
    ISLANDS,
    NOISE,
    OPENINGS,
    OPPOSITE,
    SIDES,
    SNOW_MOUNTAINS,
    WORDS,
)

# A subject is named when it covers this much; mountains and lakes are small but telling.
PRESENT = 0.08
PRESENT_SMALL = {"lakes": 0.02, "turquoise": 0.05, "snow": 0.05, "red": 0.05, "mountains": 0.12}
# The share of a subject that must lie on one side of the middle to be said to be there; an even
# spread has half, and a picture is held to 0.6.
ONE_SIDED = 0.7
# Most prompts with a position say "sea" or "desert", and mean every kind of it.
ALIKE = {"deep": WATERS, "shallow": WATERS, "desert": DESERTS, "red": DESERTS}
SIDE_UNSAID = 0.1
OPPOSITES_TOLD = 0.5


@dataclass(frozen=True)
class Sight:
    """One thing a caption may name: the words for it, its share, and its side if it has one."""

    subject: str
    share: float
    side: str | None


def sights(survey: Survey) -> list[Sight]:
    """Everything worth naming in *survey*, largest first."""
    found = [
        Sight(subject, survey.share(subject), side_of(_layer(survey, subject)))
        for subject in SUBJECTS
        if survey.share(subject) >= PRESENT_SMALL.get(subject, PRESENT)
    ]
    return sorted(found, key=lambda sight: -sight.share)


def _layer(survey: Survey, subject: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    layers = [survey.of(one) for one in ALIKE.get(subject, (subject,))]
    layer: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    layer = np.sum(layers, axis=0, dtype=np.float32)
    return layer


def side_of(shares: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> str | None:
    """The half of the picture where *shares* ``(rows, columns)`` lie, or ``centre``, or nothing."""
    total = float(shares.sum())
    if total <= 0:
        return None
    held = {name: float(half.sum()) for name, half in halves(shares).items()}
    side = max(held, key=held.__getitem__)
    if held[side] >= ONE_SIDED * total:
        return side
    rows, columns = shares.shape
    middle = shares[rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4]
    return "centre" if middle.sum() >= 0.65 * total else None


def has_islands(survey: Survey) -> bool:
    """Whether some land is there and hardly any of it reaches the border."""
    land = 1 - survey.water
    border = np.concatenate([land[0], land[-1], land[:, 0], land[:, -1]])
    return 0.02 <= float(land.mean()) <= 0.45 and float(border.mean()) < 0.12


def has_coast(survey: Survey) -> bool:
    """Whether sea and land share the picture."""
    return 0.15 <= float(survey.water.mean()) <= 0.85


def write_caption(survey: Survey, rng: np.random.Generator) -> str:
    """One of the many true captions of *survey*; ``DROPPED`` of them empty, for guidance.

    Never one of the prompts of the acceptance test.
    """
    if rng.random() < DROPPED:
        return ""
    text = _written(survey, rng)
    return write_caption(survey, rng) if text in HELD_OUT else text


def _written(survey: Survey, rng: np.random.Generator) -> str:
    seen = sights(survey)
    chosen = _chosen(seen, rng)
    names = {sight.subject for sight in seen}
    phrases = [_phrase(sight, names, rng) for sight in chosen]
    if has_islands(survey) and rng.random() < 0.7:
        phrases.insert(0, _pick(ISLANDS, rng))
    elif has_coast(survey) and rng.random() < 0.4:
        phrases = [_coastal(chosen[0], names, rng), *phrases[1:]]
    return join_phrases(list(dict.fromkeys(phrases)), rng)


def _chosen(seen: list[Sight], rng: np.random.Generator) -> list[Sight]:
    """Some of *seen*: the larger the likelier, so that a caption rarely hides the main thing.

    What lies on one side is likelier too, and two things on opposite sides are told as a pair:
    they are rare among all there is to say, and learnt last.
    """
    if not seen:
        return [Sight("steppe", 1.0, None)]
    pairs = [(one, other) for one in seen for other in seen if _are_opposite(one, other)]
    if pairs and rng.random() < OPPOSITES_TOLD:
        return list(pairs[int(rng.integers(len(pairs)))])
    count = int(rng.choice([1, 2, 3, 4], p=[0.2, 0.4, 0.3, 0.1]))
    weights = np.array([sight.share**0.5 * (2 if sight.side in SIDES else 1) for sight in seen])
    order = rng.choice(len(seen), min(count, len(seen)), replace=False, p=weights / weights.sum())
    return [seen[index] for index in order]


def _are_opposite(one: Sight, other: Sight) -> bool:
    return one.side is not None and OPPOSITE.get(one.side) == other.side


def _phrase(sight: Sight, names: set[str], rng: np.random.Generator) -> str:
    are_snowy = {"snow", "mountains"} <= names and sight.subject in ("snow", "mountains")
    words = SNOW_MOUNTAINS if are_snowy and rng.random() < 0.4 else WORDS[sight.subject]
    return place_words(_pick(words, rng), sight.side, rng)


def place_words(words: str, side: str | None, rng: np.random.Generator) -> str:
    """*words* with the *side* they are on, which one in ten leaves unsaid."""
    if side is None or rng.random() < SIDE_UNSAID:
        return words
    if side == "centre":
        return f"{words} {_pick(CENTRE, rng)}"
    compass, plain = SIDES[side]
    if rng.random() < 0.55:
        pattern = _pick(("{0} in the {1}", "{0} in the {1}", "{0} to the {1}", "{1} {0}"), rng)
        return pattern.format(words, compass)
    return _pick(("{0} on the {1}", "{0} on the {1}", "{0} at the {1}"), rng).format(words, plain)


def _coastal(sight: Sight, names: set[str], rng: np.random.Generator) -> str:
    if sight.subject in WATERS:
        return f"{_pick(COAST, rng)} with {_phrase(sight, names, rng)}"
    return place_words(f"{_pick(WORDS[sight.subject], rng)} {_pick(COAST, rng)}", sight.side, rng)


def join_phrases(phrases: list[str], rng: np.random.Generator) -> str:
    """*phrases* as one caption, at times with an opening or a word that says nothing."""
    if rng.random() < 0.1:
        phrases.insert(int(rng.integers(len(phrases) + 1)), _pick(NOISE, rng))
    link = _pick((", ", ", ", " and ", " with "), rng)
    text = phrases[0] + "".join(
        (link if place == 1 else ", ") + phrase for place, phrase in enumerate(phrases[1:], 1)
    )
    return f"{_pick(OPENINGS, rng)}{text}" if rng.random() < 0.3 else text


def _pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
