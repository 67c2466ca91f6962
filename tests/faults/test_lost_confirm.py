"""The broker takes an order, and its client never hears of it."""

import time
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.outcome import check_picture, left
from tests.faults.proxy import Way
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
REQUEST = {"prompt": "islands", "height": 128, "width": 128, "tile": 64, "overlap": 16, "nsr": 0.25}


def starts(field, plan):
    """How often a worker began each unit of *plan*."""
    return Counter(
        event["unit"] for event in field.history.events("start") if event["plan"] == plan.hash
    )


def check_one_job(field, job_id):
    """The job ends with the clean picture, and nothing was done for it twice."""
    check_picture(field, job_id)
    plan = field.runtime.ledger.plan(job_id)
    assert set(starts(field, plan).values()) == {1}
    assert wait_for(lambda: not left(field), limit_s=30)


def test_an_order_whose_confirmation_is_lost_is_sent_once_more_and_is_one_job(field, order):
    assert order("first", REQUEST | {"seed": 1}) == "taken"  # its connection loses answers
    link = field.ground.links["client"].broker

    link.lose_answers()
    assert order("second", REQUEST | {"seed": 2}) == "taken"
    link.heal()

    check_one_job(field, "second")
    assert field.runtime.ledger.job_ids() == ["first", "second"]


def test_a_refused_order_that_had_arrived_is_rendered_when_it_is_given_again(field, order):
    assert order("third", REQUEST | {"seed": 3}) == "taken"
    link = field.ground.links["client"].broker

    link.blackhole(Way.DOWN)
    began = time.monotonic()
    assert order("fourth", REQUEST | {"seed": 4}) == "refused"
    took_s = time.monotonic() - began
    link.heal()
    assert field.runtime.entries.find("fourth") is None  # nobody will work on it
    assert order("fourth", REQUEST | {"seed": 4}) == "taken"

    check_one_job(field, "fourth")
    assert took_s < 10
