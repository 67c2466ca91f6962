import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.scheduling.admission import Demand, Limits, Load, Reason, Refusal, admit
from app.domain.scheduling.placement import Need, Node

NEED = Need(model="xl", memory_gb=24.0, seconds=10.0, unit_id="u")


def node(name="w1", memory_gb=80.0, *, is_ready=True):
    return Node(name, memory_gb, frozenset(), 1.0, 0.0, 0, is_ready)


def load(open_jobs=0, tenant_jobs=0, pending_s=0.0):
    return Load(open_jobs, tenant_jobs, pending_s)


def asked_of(*crews):
    return [Demand(NEED, dict(zip(("gpu", "large"), crews, strict=False)))]


ABLE = asked_of([node()])


def test_a_job_within_every_limit_is_taken():
    limits = Limits(max_open_jobs=10, max_open_jobs_per_tenant=2, max_pending_s=60)

    assert admit(ABLE, load(9, 1, 59.0), limits) is None


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 1e9))
def test_limits_of_nought_refuse_nothing(open_jobs, tenant_jobs, pending_s):
    assert admit(ABLE, load(open_jobs, tenant_jobs, pending_s), Limits()) is None


def test_what_no_live_worker_has_the_memory_for_is_refused_with_both_sizes():
    nodes = [node("w1", 12.0), node("w2", 16.0)]

    assert admit(asked_of(nodes), load(), Limits()) == Refusal(
        Reason.NO_WORKER_CAN_SERVE,
        "model xl needs 24 GB, the largest of 2 live workers has 16 GB",
    )


def test_a_pool_without_any_worker_takes_the_job():
    assert admit(asked_of([]), load(), Limits()) is None


def test_one_worker_that_can_is_enough_even_while_it_is_paused():
    nodes = [node("w1", 12.0), node("w2", 24.0, is_ready=False)]

    assert admit(asked_of(nodes), load(), Limits()) is None


def test_a_worker_that_does_not_know_its_memory_counts_as_able():
    assert admit(asked_of([node(memory_gb=None)]), load(), Limits()) is None


def test_a_bigger_pool_serves_what_does_not_fit():
    assert admit(asked_of([node("w1", 10.0)], [node("l1", 80.0)]), load(), Limits()) is None


def test_workers_of_bigger_pools_are_counted_in_the_refusal():
    refusal = admit(asked_of([node("w1", 10.0)], [node("l1", 16.0)]), load(), Limits())

    assert refusal.sentence == "model xl needs 24 GB, the largest of 2 live workers has 16 GB"


def test_a_bigger_pool_without_any_worker_may_start_one():
    assert admit(asked_of([node("w1", 10.0)], []), load(), Limits()) is None


def test_every_model_of_a_job_has_to_be_served():
    demands = [*ABLE, *asked_of([node("w1", 8.0)])]

    assert admit(demands, load(), Limits()).reason is Reason.NO_WORKER_CAN_SERVE


@pytest.mark.parametrize(
    ("load", "limits", "refusal"),
    [
        (
            load(open_jobs=10),
            Limits(max_open_jobs=10),
            Refusal(Reason.QUEUE_FULL, "at most 10 jobs may be open, there are 10", jobs_before=1),
        ),
        (
            load(tenant_jobs=3),
            Limits(max_open_jobs_per_tenant=2),
            Refusal(
                Reason.TENANT_QUOTA, "a tenant may have 2 open jobs, this one has 3", jobs_before=2
            ),
        ),
        (
            load(pending_s=61.2),
            Limits(max_pending_s=60),
            Refusal(
                Reason.QUEUE_FULL,
                "at most 60 s of work may wait, there are 61 s",
                seconds_before=61.2 - 60,
            ),
        ),
    ],
    ids=["jobs", "tenant", "seconds"],
)
def test_a_refusal_tells_the_limit_and_what_there_is(load, limits, refusal):
    assert admit(ABLE, load, limits) == refusal


def test_what_can_never_be_served_is_told_before_what_may_pass():
    full = load(open_jobs=10, tenant_jobs=10)
    small = asked_of([node(memory_gb=8.0)])

    refusal = admit(small, full, Limits(max_open_jobs=1, max_open_jobs_per_tenant=1))

    assert refusal.reason is Reason.NO_WORKER_CAN_SERVE
    assert not refusal.reason.may_pass


def test_ones_own_quota_is_told_before_the_queue_of_all():
    refusal = admit(ABLE, load(10, 10), Limits(max_open_jobs=1, max_open_jobs_per_tenant=1))

    assert refusal.reason is Reason.TENANT_QUOTA
    assert refusal.reason.may_pass


def test_reasons_are_the_codes_that_clients_know():
    assert [str(reason) for reason in Reason] == [
        "queue_full",
        "tenant_quota",
        "no_worker_can_serve",
    ]
