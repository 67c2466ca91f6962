"""What captions say about a crop, and the eye they share with the acceptance test."""

import numpy as np
import pytest

from workers.models.atlas_training.captions import has_islands, side_of, sights, write_caption
from workers.models.atlas_training.prompts import (
    DOUBLE,
    PLACED,
    SINGLE,
    Ask,
    is_found,
)
from workers.models.atlas_training.surface import Survey, survey
from workers.models.atlas_training.words import SIDES

COLOURS = {
    "deep": (0.01, 0.03, 0.12),
    "shallow": (0.1, 0.27, 0.5),
    "turquoise": (0.14, 0.64, 0.66),
    "snow": (0.95, 0.95, 0.96),
    "desert": (0.85, 0.68, 0.45),
    "red": (0.6, 0.3, 0.15),
    "forest": (0.12, 0.22, 0.06),
    "steppe": (0.42, 0.34, 0.2),
}


def painted(north: str, south: str) -> Survey:
    """The survey of a picture in two plain halves."""
    pixels = np.zeros((128, 128, 3), np.float32)
    pixels[:64] = COLOURS[north]
    pixels[64:] = COLOURS[south]
    return survey(pixels)


@pytest.mark.parametrize("subject", COLOURS, ids=list(COLOURS))
def test_each_subject_is_told_by_its_colour(subject: str) -> None:
    seen = painted(subject, subject)

    assert seen.share(subject) == 1.0


def test_a_subject_in_one_half_is_found_there_only() -> None:
    seen = painted("snow", "forest")

    assert is_found(seen, Ask("snow", "north"))
    assert not is_found(seen, Ask("snow", "south"))


def test_largest_sight_comes_first_with_its_side() -> None:
    pixels = np.full((128, 128, 3), COLOURS["forest"], np.float32)
    pixels[:, 100:] = COLOURS["desert"]

    first, second = sights(survey(pixels))[:2]

    assert (first.subject, second.subject) == ("forest", "desert")
    assert second.side == "east"


def test_side_of_the_sea_counts_deep_and_shallow_water_together() -> None:
    pixels = np.full((128, 128, 3), COLOURS["deep"], np.float32)
    pixels[64:] = COLOURS["shallow"]
    pixels[:, 80:] = COLOURS["steppe"]

    sides = {sight.subject: sight.side for sight in sights(survey(pixels))}

    assert sides == {"deep": "west", "shallow": "west", "steppe": "east"}


def test_nearly_every_caption_says_where_things_are() -> None:
    seen, rng = painted("snow", "forest"), np.random.default_rng(0)
    words = {word for side in ("north", "south") for word in SIDES[side]}

    captions = [caption for _ in range(300) if (caption := write_caption(seen, rng))]

    placed = [words & set(caption.replace(",", "").split()) for caption in captions]
    assert np.mean([bool(found) for found in placed]) > 0.85
    assert np.mean([len(found) == 2 for found in placed]) > 0.4


def test_captions_never_say_what_a_picture_contradicts() -> None:
    seen, rng = painted("snow", "deep"), np.random.default_rng(0)

    captions = [write_caption(seen, rng) for _ in range(300)]

    assert not any(word in caption for caption in captions for word in ("west", "right", "jungle"))
    assert not any("snow in the south" in caption for caption in captions)


def test_prompts_of_the_acceptance_are_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.models.atlas_training.captions.HELD_OUT", {"jungle"})
    seen, rng = painted("forest", "forest"), np.random.default_rng(0)

    captions = {write_caption(seen, rng) for _ in range(500)}

    assert "woods" in captions
    assert "jungle" not in captions


def test_even_spread_has_no_side() -> None:
    assert side_of(np.ones((16, 16), np.float32)) is None


def test_land_that_leaves_the_border_free_is_islands() -> None:
    pixels = np.full((128, 128, 3), COLOURS["deep"], np.float32)
    pixels[40:80, 40:80] = COLOURS["forest"]

    assert has_islands(survey(pixels))
    assert not has_islands(painted("forest", "deep"))


def test_same_seed_writes_the_same_caption() -> None:
    seen = painted("snow", "forest")

    captions = {write_caption(seen, np.random.default_rng(5)) for _ in range(3)}

    assert len(captions) == 1


def test_some_captions_are_dropped_and_the_rest_vary() -> None:
    seen, rng = painted("snow", "forest"), np.random.default_rng(0)

    captions = [write_caption(seen, rng) for _ in range(300)]

    assert 0.05 < captions.count("") / 300 < 0.2
    assert len(set(captions)) > 100


def test_rough_land_reads_as_mountains_and_flat_land_does_not() -> None:
    rng = np.random.default_rng(0)
    light = rng.uniform(0.3, 1.5, (128, 128, 1)).astype(np.float32)
    rough = np.asarray(COLOURS["steppe"], np.float32) * light

    assert survey(rough).share("mountains") > 0.9
    assert painted("steppe", "steppe").share("mountains") == 0.0


def test_acceptance_asks_twenty_prompts_of_each_kind() -> None:
    assert [len(prompts) for prompts in (SINGLE, DOUBLE, PLACED)] == [20, 20, 20]
