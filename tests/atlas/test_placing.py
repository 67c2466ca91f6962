"""Captions with positions, and what they ask of each quarter."""

from __future__ import annotations

import re

import numpy as np
import pytest

from workers.models.atlas_training.placing import (
    QUARTERS,
    QUARTERS_OF,
    Placement,
    write_placement,
    write_plain,
)
from workers.models.atlas_training.prompts import HELD_OUT
from workers.models.atlas_training.words import OPPOSITE, SIDES

SIDE_WORDS = {word: side for side, words in SIDES.items() for word in words}


@pytest.fixture(scope="module")
def placements() -> list[Placement]:
    rng = np.random.default_rng(0)
    return [write_placement(rng) for _ in range(600)]


def sides_named(words: str) -> set[str]:
    return {SIDE_WORDS[word] for word in re.findall("[a-z]+", words) if word in SIDE_WORDS}


def test_about_two_thirds_have_positions(placements: list[Placement]) -> None:
    assert 0.55 < np.mean([one.is_placed for one in placements]) < 0.75


def test_a_phrase_that_names_a_side_speaks_of_its_quarters(placements: list[Placement]) -> None:
    named = [
        (sides_named(phrase.words), phrase.quarters)
        for one in placements
        if one.is_placed
        for phrase in one.phrases
    ]

    told = [(sides, quarters) for sides, quarters in named if sides]

    assert len(told) > 300
    assert all(quarters == QUARTERS_OF[side] for (side,), quarters in told)
    assert {side for (side,), _ in told} == set(OPPOSITE)


def test_a_quarter_asks_for_what_its_phrase_says(placements: list[Placement]) -> None:
    for one in placements:
        for phrase in one.phrases if one.is_placed else ():
            for quarter in phrase.quarters:
                assert one.quarters[quarter] in phrase.words


def test_a_quarter_that_no_phrase_speaks_of_asks_for_nothing(placements: list[Placement]) -> None:
    alone = [one for one in placements if one.is_placed and len(one.phrases) == 1]

    assert len(alone) > 30
    for one in alone:
        (phrase,) = one.phrases
        assert [one.quarters[q] == "" for q in QUARTERS] == [
            q not in phrase.quarters for q in QUARTERS
        ]


def test_one_of_two_sides_may_be_left_unsaid(placements: list[Placement]) -> None:
    pairs = [one for one in placements if one.is_placed and len(one.phrases) == 2]

    unsaid = [one for one in pairs if not all(sides_named(p.words) for p in one.phrases)]

    assert 0.1 < len(unsaid) / len(pairs) < 0.45
    assert all(any(sides_named(p.words) for p in one.phrases) for one in pairs)


def test_phrases_stand_in_the_caption_in_their_order(placements: list[Placement]) -> None:
    for one in placements:
        starts = [one.caption.index(phrase.words) for phrase in one.phrases]
        assert one.is_placed is False or starts == sorted(starts)


def test_a_plain_caption_stands_for_itself_everywhere() -> None:
    rng = np.random.default_rng(1)

    plain = [write_plain(rng) for _ in range(200)]

    assert not any(one.is_placed for one in plain)
    assert all(set(one.quarters) == {one.caption} for one in plain)
    assert not any(sides_named(one.caption) for one in plain)
    assert 0.05 < np.mean([one.caption == "" for one in plain]) < 0.2


def test_no_caption_is_a_prompt_of_the_acceptance_test(placements: list[Placement]) -> None:
    assert not {one.caption for one in placements} & HELD_OUT
