"""The text encoder learns to state each quarter's text in the padding reserved for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from tests.atlas.conftest import SNOW_NORTH
from tests.atlas.test_smoke import counted
from workers.models.atlas_training.binding import (
    ADDED,
    binding_losses,
    deepened,
    shortened,
    teach_binding,
    write_lesson,
)
from workers.models.atlas_training.optimiser import Optimiser
from workers.models.atlas_training.placing import Placement
from workers.models.atlas_training.quarters import (
    AMPLITUDE,
    RESERVED,
    Code,
    Former,
    quarter_of_positions,
    states_by_quarter,
)
from workers.models.atlas_training.text import token_ids
from workers.models.train_atlas import bundled

PLAIN = Placement("green islands", ("green islands",) * 4, ())


def test_layers_added_pass_on_what_they_are_given(former: Former) -> None:
    ids = token_ids(former.tokenizer, ["snow in the north", ""])

    deeper = deepened(former.text)

    assert len(deeper.encoder.layers) == len(former.text.encoder.layers) + ADDED
    torch.testing.assert_close(
        deeper(ids).last_hidden_state, former.text(ids).last_hidden_state, atol=1e-5, rtol=0
    )


def test_padding_states_what_its_quarter_asks_for(former: Former, code: Code) -> None:
    (states,), quarters = (
        states_by_quarter(former, code, [SNOW_NORTH]),
        former.by_quarter([SNOW_NORTH]),
    )

    snow, ocean = former.states(["snow", "dark ocean"])
    padding = torch.arange(77) >= former.length(SNOW_NORTH.caption)
    for quarter, wanted in enumerate((snow, snow, ocean, ocean)):
        chosen = padding & (quarter == RESERVED)
        assert torch.equal(quarters[quarter][0], wanted)
        torch.testing.assert_close(code.without(states)[chosen], code.without(wanted)[chosen])


def test_codes_tell_the_start_words_and_quarters_apart(former: Former, code: Code) -> None:
    states = states_by_quarter(former, code, [SNOW_NORTH])
    length = former.length(SNOW_NORTH.caption)

    parts = (code.parts(states)[0] / AMPLITUDE).round().int().tolist()

    assert parts[0] == [0, 0, 1]
    assert parts[1:length] == [[0, 0, -1]] * (length - 1)
    assert {tuple(part) for part in parts[length:]} == {
        (-1, -1, 0),
        (-1, 1, 0),
        (1, -1, 0),
        (1, 1, 0),
    }


def test_code_lies_where_former_states_hardly_reach(former: Former, code: Code) -> None:
    states = former.states(["snow in the north", "sea, desert", "forest"])

    assert code.parts(states).square().mean() < 0.01 * states.square().mean()
    torch.testing.assert_close(code.directions.T @ code.directions, torch.eye(3))


def test_quarters_of_positions_are_row_by_row() -> None:
    assert quarter_of_positions(4).reshape(4, 4).tolist() == [
        [0, 0, 1, 1],
        [0, 0, 1, 1],
        [2, 2, 3, 3],
        [2, 2, 3, 3],
    ]


def test_lesson_shows_where_to_look(former: Former, code: Code) -> None:
    lesson = write_lesson(former, code, [SNOW_NORTH])
    words = [former.tokenizer.decode(token) for token in lesson.ids[0]]
    north, bottom = words.index("north"), words.index("bottom")

    phrase = lesson.phrases[0, bottom].nonzero().flatten().tolist()

    assert [words[at] for at in phrase] == ["dark", "ocean", "on", "the", "bottom"]
    padding = lesson.is_padding[0]
    assert (lesson.sides[0, padding & (RESERVED < 2), north] == 1).all()
    assert (lesson.sides[0, padding & (RESERVED > 1), bottom] == 1).all()
    assert (lesson.sides[0, ~padding] == 0).all()


def test_padding_of_a_quarter_without_words_looks_at_the_start(former: Former, code: Code) -> None:
    lesson = write_lesson(former, code, [Placement("", ("",) * 4, ())])

    assert (lesson.sides[0, 1:, 0] == 1).all()


def test_a_shortened_lesson_keeps_words_and_some_padding(former: Former, code: Code) -> None:
    whole = write_lesson(former, code, [SNOW_NORTH, PLAIN])

    short = shortened(whole, np.random.default_rng(0))

    assert short.ids.shape[1] < 40
    for row in range(2):
        places = short.places[row]
        assert (places.diff() > 0).all()
        assert torch.equal(short.states[row], whole.states[row, places])
        assert torch.equal(short.is_padding[row], whole.is_padding[row, places])
        assert (~short.is_padding[row]).sum() == (~whole.is_padding[row]).sum()
        assert torch.equal(short.sides[row].sum(-1), whole.sides[row, places].sum(-1))


def test_losses_of_what_shall_be_stated_are_zero_only_there(former: Former, code: Code) -> None:
    text = deepened(former.text)
    lesson = write_lesson(former, code, [PLAIN])

    before = binding_losses(text, code, lesson)

    assert before["error"] < 0.05  # the former states, but for the codes
    assert before["code"] > 0.5 * AMPLITUDE**2
    assert before["phrases"] == 0 or not torch.isfinite(before["phrases"])
    assert before["sides"] > 0.5


def test_teaching_shows_where_to_look_and_what_to_be(former: Former, code: Code) -> None:
    torch.manual_seed(0)
    text = deepened(former.text)
    optimiser = Optimiser(text, matrix_lr=0.008, other_lr=1e-3)

    lesson = write_lesson(former, code, [SNOW_NORTH])
    before = binding_losses(text, code, lesson)

    steps = teach_binding(text, former, code, optimiser, progress=counted(20), seed=0, batch=4)
    losses = list(steps)

    after = binding_losses(text, code, lesson)
    assert all(after[name] < before[name] for name in ("code", "phrases", "sides"))
    assert all(np.isfinite(value) for step in losses for value in step.values())


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    return bundled()


def test_the_bundled_encoder_tells_the_quarters_apart(pipeline: StableDiffusionPipeline) -> None:
    """Padding of the north is nearer to "snow", that of the south to "forest", not the reverse."""
    encoder, tokenizer = pipeline.text_encoder, pipeline.tokenizer
    texts = ["snow in the north, forest in the south", "snow", "forest"]
    with torch.no_grad():
        both, snow, forest = encoder(token_ids(tokenizer, texts)).last_hidden_state

    for quarter, (near, far) in enumerate([(snow, forest)] * 2 + [(forest, snow)] * 2):
        chosen = (quarter == RESERVED) & (torch.arange(77) >= 12)
        to_near, to_far = ((both - other)[chosen].square().mean() for other in (near, far))
        assert to_near < 0.5 * to_far
