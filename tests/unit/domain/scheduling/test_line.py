import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import ConfigurationError
from app.domain.scheduling.line import Shares, Waiting, aged_level, in_order
from app.domain.spec import Priority

AGEING_S = 60.0


def job(
    job_id="a", tenant="t", priority=Priority.NORMAL, accepted_s=0.0, deadline_s=None, waited_s=0.0
):
    return Waiting(job_id, tenant, priority, accepted_s, deadline_s, waited_s)


def order(*waiting, shares=None, ageing_s=AGEING_S):
    return [one.job_id for one in in_order(waiting, shares or Shares({}), ageing_s)]


jobs = st.builds(
    Waiting,
    job_id=st.text("abc", min_size=1, max_size=4),
    tenant=st.sampled_from(["ada", "ben", "cy"]),
    priority=st.sampled_from(Priority),
    accepted_s=st.floats(0, 1000),
    deadline_s=st.none() | st.floats(0, 2000),
    waited_s=st.floats(0, 1e9),
)


def test_classes_come_before_everything_else():
    low, normal, high = (
        job("low", "idle", Priority.LOW, 0.0, deadline_s=1.0),
        job("normal", priority=Priority.NORMAL, accepted_s=1.0),
        job("high", "greedy", Priority.HIGH, accepted_s=2.0),
    )
    shares = Shares({})
    shares.charge("greedy", 1000)

    assert order(low, normal, high, shares=shares) == ["high", "normal", "low"]


def test_in_a_class_the_tenant_served_less_is_next():
    shares = Shares({})
    shares.charge("ada", 2)
    shares.charge("ben", 1)

    assert order(job("1", "ada"), job("2", "ben"), shares=shares) == ["2", "1"]


def test_a_tenants_jobs_go_by_deadline_then_acceptance_then_name():
    waiting = [
        job("late", accepted_s=1.0, deadline_s=90.0),
        job("soon", accepted_s=3.0, deadline_s=30.0),
        job("b", accepted_s=2.0, deadline_s=60.0),
        job("a", accepted_s=2.0, deadline_s=60.0),
        job("first", accepted_s=1.0, deadline_s=60.0),
    ]

    assert order(*waiting) == ["soon", "first", "a", "b", "late"]


def test_without_ageing_a_job_without_deadline_is_behind_those_that_have_one():
    waiting = [job("open"), job("due", accepted_s=5.0, deadline_s=1e9)]

    assert order(*waiting, ageing_s=0) == ["due", "open"]


def test_deadlines_do_not_keep_back_a_job_without_one_for_ever():
    waiting = [job("open"), job("due", accepted_s=5.0, deadline_s=10 * AGEING_S)]

    assert order(*waiting) == ["open", "due"]


@given(st.lists(jobs, max_size=8), st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_how_jobs_are_listed(waiting, random):
    waiting = list({one.job_id: one for one in waiting}.values())
    shuffled = random.sample(waiting, len(waiting))

    assert in_order(waiting, Shares({}), AGEING_S) == in_order(shuffled, Shares({}), AGEING_S)


@pytest.mark.parametrize(
    ("waited_s", "level"),
    [(0, Priority.LOW), (59.9, Priority.LOW), (60, Priority.NORMAL), (120, Priority.HIGH)],
)
def test_a_low_job_gains_a_class_for_every_ageing_time(waited_s, level):
    low = job(priority=Priority.LOW, waited_s=waited_s)

    assert aged_level(low, AGEING_S) == level.level


@given(jobs, st.floats(0, 1e6) | st.just(1e-300))
def test_ageing_never_lowers_a_job_and_ends_at_high(waiting, ageing_s):
    level = aged_level(waiting, ageing_s)

    assert waiting.priority.level <= level <= Priority.HIGH.level


def test_an_ageing_time_of_nought_turns_ageing_off():
    low = job(priority=Priority.LOW, waited_s=1e9)

    assert aged_level(low, 0) == Priority.LOW.level


def test_a_low_job_among_endless_high_ones_is_served_when_it_has_aged():
    low = job("low", priority=Priority.LOW)

    served_s = next(now_s for now_s in range(1000) if next_of_endless_high(low, now_s) == "low")

    assert served_s == 2 * AGEING_S


def test_without_ageing_a_low_job_among_endless_high_ones_is_starved():
    low = job("low", priority=Priority.LOW)

    assert all(next_of_endless_high(low, now_s, ageing_s=0) == "high" for now_s in range(1000))


def next_of_endless_high(low, now_s, ageing_s=AGEING_S):
    """A high job of the same tenant has just come, and is due soon."""
    high = job("high", priority=Priority.HIGH, accepted_s=now_s, deadline_s=now_s + 3 * AGEING_S)
    return order(replace(low, waited_s=now_s), high, ageing_s=ageing_s)[0]


def serve(queues, shares, slices, seconds=1.0):
    """Seconds that each tenant was served; *queues* are the jobs each has waiting, all alike."""
    served = dict.fromkeys(queues, 0.0)
    left = [
        replace(job(tenant=tenant), job_id=f"{tenant}-{number}", accepted_s=number)
        for tenant, count in queues.items()
        for number in range(count)
    ]
    for _ in range(slices):
        shares.activate({one.tenant for one in left})
        first = in_order(left, shares, AGEING_S)[0]
        left.remove(first)
        shares.charge(first.tenant, seconds)
        served[first.tenant] += seconds
    return served


def test_ten_times_the_jobs_get_no_more_service():
    served = serve({"greedy": 400, "modest": 40}, Shares({}), slices=80)

    assert served["modest"] == pytest.approx(served["greedy"], rel=0.1)


def test_among_a_hundred_tenants_every_one_gets_its_share():
    queues = {"greedy": 60} | {f"modest-{number}": 4 for number in range(99)}

    served = serve(queues, Shares({}), slices=300)

    assert min(served.values()) >= 0.9 * max(served.values())


def test_service_follows_weights():
    served = serve({"gold": 100, "plain": 100}, Shares({"gold": 3.0}), slices=100)

    assert served["gold"] == pytest.approx(3 * served["plain"], rel=0.1)


def test_a_tenant_of_dear_slices_gets_fewer_of_them():
    shares = Shares({})
    shares.activate(["dear", "cheap"])
    served = {"dear": 0.0, "cheap": 0.0}
    cost = {"dear": 10.0, "cheap": 1.0}

    for _ in range(200):
        tenant = min(served, key=shares.virtual)
        shares.charge(tenant, cost[tenant])
        served[tenant] += cost[tenant]

    assert served["dear"] == pytest.approx(served["cheap"], rel=0.1)


def test_who_was_idle_has_saved_nothing_up():
    shares = Shares({})
    shares.activate(["busy"])
    shares.charge("busy", 1000)

    shares.activate(["busy", "back"])

    assert shares.virtual("back") == shares.virtual("busy")


def test_who_comes_back_starts_at_the_least_of_those_who_stayed():
    shares = Shares({})
    shares.activate(["ada", "ben"])
    shares.charge("ada", 10)
    shares.charge("ben", 4)

    shares.activate(["ada", "ben", "cy"])

    assert shares.virtual("cy") == 4


def test_a_short_break_does_not_wipe_out_what_was_used():
    shares = Shares({})
    shares.activate(["ada", "ben"])
    shares.charge("ada", 10)
    shares.charge("ben", 4)

    shares.activate(["ben"])
    shares.activate(["ada", "ben"])

    assert shares.virtual("ada") == 10


def test_after_a_time_without_any_work_all_start_alike():
    shares = Shares({})
    shares.activate(["ada", "ben"])
    shares.charge("ada", 10)

    shares.activate([])
    shares.activate(["ada", "ben"])

    assert shares.virtual("ada") == shares.virtual("ben")


def test_tenants_that_came_and_went_are_forgotten():
    shares = Shares({})
    for number in range(1000):
        tenant = f"once-{number}"
        shares.activate([tenant, "stays"])
        shares.charge(tenant, 1)
        shares.charge("stays", 1)

    assert len(shares.remembered) <= 3


tenants = st.sampled_from("abcd")


@given(st.lists(st.tuples(st.sets(tenants), tenants, st.floats(0, 100))))
def test_virtual_time_never_goes_back(rounds):
    shares = Shares({"a": 2.0})
    before = dict.fromkeys("abcd", 0.0)

    for active, tenant, seconds in rounds:
        shares.activate(active)
        shares.charge(tenant, seconds)
        after = {name: shares.virtual(name) for name in "abcd"}
        assert all(after[name] >= before[name] for name in "abcd")
        before = after


@pytest.mark.parametrize("weight", [0.0, -1.0, math.inf, math.nan])
def test_a_weight_that_is_no_share_is_refused(weight):
    with pytest.raises(ConfigurationError, match=r"^weight of tenant ada must be > 0, got "):
        Shares({"ada": weight})
