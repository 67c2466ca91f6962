from __future__ import annotations

import time

import pytest

from app.cli.following import LineReporter
from app.cli.outlook import expectation, outlook, time_left
from app.domain.work import Progress, Stage
from app.expectation import Expectation
from app.schedules import Schedule

NOON_S = time.mktime((2026, 3, 1, 12, 0, 0, 0, 0, -1))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (Schedule(position=2, eta_s=90.0), "2 before it, about 1 min 30 s left"),
        (Schedule(position=0, eta_s=30.0), "about 30 s left"),
        (Schedule(position=1, eta_s=None), "1 before it"),
        (Schedule(position=1, eta_s=None, state="paused"), "paused"),
        (Schedule(eta_s=0.2), ""),
    ],
    ids=["waiting", "first", "no worker", "paused", "nearly done"],
)
def test_place_and_time_left_are_told_as_far_as_they_are_known(told: Schedule, said: str) -> None:
    assert outlook(told, NOON_S) == said


@pytest.mark.parametrize(
    ("eta_s", "after_s", "said"),
    [
        (30.0, 60.0, "about 30 s left, wanted by 12:01"),
        (90.0, 60.0, "about 1 min 30 s left, too late for 12:01"),
        (None, -60.0, "too late for 11:59"),
        (None, 60.0, "wanted by 12:01"),
    ],
    ids=["in time", "too slow", "over", "no worker"],
)
def test_a_deadline_is_told_with_whether_it_will_be_kept(
    eta_s: float | None, after_s: float, said: str
) -> None:
    told = Schedule(eta_s=eta_s, deadline_ms=round(1000 * (NOON_S + after_s)))

    assert outlook(told, NOON_S) == said


@pytest.mark.parametrize(("seconds", "said"), [(None, ""), (0.4, ""), (12.0, "about 12 s left")])
def test_less_than_a_second_is_not_worth_a_word(seconds: float | None, said: str) -> None:
    assert time_left(seconds) == said


def test_whoever_watches_is_told_with_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = LineReporter()

    reporter.show(Progress(3, 20, Stage.TILE), "2 before it")
    reporter.show(Progress(4, 20, Stage.TILE), "1 before it")
    reporter.show(Progress(0, 20, Stage.CORE), "")

    assert capsys.readouterr().err == "tile: 3 of 20 units, 2 before it\ncore: 0 of 20 units\n"


def test_whoever_watches_a_batch_is_told_of_every_picture(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reporter = LineReporter()

    reporter.show(Progress(3, 20, Stage.TILE), "about 9 s left", "0 of 2 pictures")
    reporter.show(Progress(4, 20, Stage.TILE), "", "0 of 2 pictures")
    reporter.show(Progress(12, 20, Stage.TILE), "", "1 of 2 pictures")

    assert capsys.readouterr().err == (
        "tile: 3 of 20 units, 0 of 2 pictures, about 9 s left\n"
        "tile: 12 of 20 units, 1 of 2 pictures\n"
    )


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (Expectation(40.0, 185.0), "begin: in about 40 s, done: in about 3 min 5 s"),
        (Expectation(0.0, None), "begin: at once, done: not known"),
        (Expectation(None, None), "begin: not known, done: not known"),
    ],
    ids=["both", "one", "neither"],
)
def test_what_is_expected_of_a_new_job_is_told_without_guesses(
    told: Expectation, said: str
) -> None:
    assert expectation(told) == said
