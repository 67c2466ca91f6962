from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from tests.faults.requests import TENANTS, deeds_of, is_cancelled, request_of
from tests.faults.schedule import ALL, schedule


def test_a_seed_gives_one_schedule():
    first, again, other = (schedule(seed, seconds=300, faults=90) for seed in (7, 7, 8))

    assert first == again
    assert first != other


def test_strikes_come_in_order_within_the_time():
    strikes = schedule(1, seconds=300, faults=90)

    assert len(strikes) == 90
    assert all(before.at_s < after.at_s for before, after in pairwise(strikes))
    assert strikes[0].at_s > 0
    assert strikes[-1].at_s < 300


def test_every_class_strikes_about_as_often_as_any_other():
    counts = Counter(strike.name for strike in schedule(3, seconds=6000, faults=1000))

    assert counts.keys() == ALL.keys()
    assert min(counts.values()) >= 15


def test_a_broker_is_given_time_before_it_is_hurt_again():
    strikes = schedule(1, seconds=600, faults=120)

    broker = [strike for strike in strikes if ALL[strike.name].subject == "broker"]

    assert len(broker) >= 10
    assert all(after.at_s - before.at_s >= before.hold_s for before, after in pairwise(broker))


def test_chosen_classes_alone_strike():
    names = ["worker-kill", "redis-flush"]

    strikes = schedule(1, seconds=60, faults=20, names=names)

    assert {strike.name for strike in strikes} == set(names)


def test_there_are_twenty_classes_with_names_of_their_own():
    assert len(ALL) >= 20
    assert all(nemesis.name == name for name, nemesis in ALL.items())


def test_a_request_is_a_function_of_seed_and_number():
    assert request_of(1, 5) == request_of(1, 5)
    assert request_of(1, 5) != request_of(2, 5)


def test_some_requests_repeat_an_earlier_one():
    requests = [str(request_of(1, number) | {"tenant": ""}) for number in range(200)]

    assert 5 <= len(requests) - len(set(requests)) <= 60


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_few_orders_are_taken_back(seed):
    taken_back = sum(is_cancelled(seed, number) for number in range(300))

    assert 3 <= taken_back <= 40


def test_every_tenant_orders_and_some_repeat_what_another_has_ordered():
    requests = [request_of(1, number) for number in range(100)]
    whose = defaultdict(set)
    for request in requests:
        whose[request["prompt"]].add(request["tenant"])

    assert {request["tenant"] for request in requests} == set(TENANTS)
    assert any(len(tenants) > 1 for tenants in whose.values())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_some_orders_are_paused_and_each_of_these_is_resumed(seed):
    deeds = [[deed.name for deed in deeds_of(seed, number)] for number in range(300)]

    assert 10 <= deeds.count(["pause", "resume"]) <= 60
    assert 10 <= deeds.count(["prioritise"]) <= 60
    assert all(names in ([], ["prioritise"], ["pause", "resume"]) for names in deeds)


def test_what_a_client_does_is_a_function_of_seed_and_number():
    assert deeds_of(1, 5) == deeds_of(1, 5)
    assert [deeds_of(1, n) for n in range(50)] != [deeds_of(2, n) for n in range(50)]
