import pytest

from tests.faults.checker import check, told

PLAN = "a" * 64


def job(name="soak-1-00000", **changes):
    """The history of one order that went well."""
    outcome = {
        "state": "succeeded",
        "reason": None,
        "plan": PLAN,
        "units": 2,
        "tiles": 1,
        "missing": [],
        "pictures": ["sha"],
        "stored": ["sha"],
        "clean": ["sha"],
    }
    return [
        {"t": 1, "event": "submit", "job_id": name},
        {"t": 2, "event": "acknowledged", "job_id": name, "seconds": 0.1},
        {"t": 90, "event": "outcome", "job_id": name} | outcome | changes,
    ]


def fault(name, t=5):
    return {"t": t, "event": "fault", "name": name}


def start(unit, t=3):
    return {"t": t, "event": "start", "node": "w1", "plan": PLAN, "unit": unit}


def test_a_run_in_which_nothing_was_lost_has_no_accusation():
    events = [*job(), fault("worker-kill"), {"t": 91, "event": "left", "places": {}}]

    verdict = check(events)

    assert verdict.accusations == []
    assert (verdict.jobs, verdict.faults, verdict.ends) == (1, 1, {"succeeded": 1})


@pytest.mark.parametrize(
    ("changes", "accusation"),
    [
        (
            {"missing": ["image-0000/phase-0/tile-00003"]},
            "lost: soak-1-00000 has no image-0000/phase-0/tile-00003",
        ),
        (
            {"state": "", "missing": ["image-0000/base", "image-0000/prepared"]},
            "without an end: soak-1-00000: 2 units to do",
        ),
        (
            {"pictures": ["other"], "stored": ["other"]},
            "mixed: soak-1-00000 differs from the clean run",
        ),
        (
            {"stored": ["other"]},
            "mixed: soak-1-00000 has other bytes than its manifest says",
        ),
        (
            {"pictures": ["sha", "sha"], "stored": ["sha", "sha"]},
            "mixed: soak-1-00000 differs from the clean run",
        ),
        (
            {"state": "failed", "reason": "tile 3 of image 0: gone"},
            "failed: soak-1-00000: tile 3 of image 0: gone",
        ),
        ({"state": "cancelled"}, "failed: soak-1-00000 was cancelled by nobody"),
    ],
    ids=["tile lost", "no end", "mixed", "rewritten", "two results", "failed", "cancelled"],
)
def test_what_went_wrong_is_told(changes, accusation):
    assert check(job(**changes)).accusations == [accusation]


def test_an_acknowledged_order_that_nobody_knows_is_lost():
    events = job()[:2]

    assert check(events).accusations == ["lost: soak-1-00000 was acknowledged and is not known"]


def test_an_order_that_was_only_refused_may_be_unknown():
    events = [
        {"t": 1, "event": "submit", "job_id": "a"},
        {"t": 2, "event": "refused", "job_id": "a", "seconds": 9.3, "reason": "no broker"},
    ]

    verdict = check(events)

    assert verdict.accusations == []
    assert (verdict.refusals, verdict.slowest_refusal_s) == (1, 9.3)


def test_a_cancelled_order_that_its_client_took_back_is_well():
    events = [*job(state="cancelled"), {"t": 4, "event": "cancel", "job_id": "soak-1-00000"}]

    assert check(events).accusations == []


def test_what_is_left_over_is_told():
    left = {"messages in render.gpu.v1": 3}

    verdict = check([*job(), {"t": 91, "event": "left", "places": left}])

    assert verdict.accusations == ["left over: messages in render.gpu.v1: 3"]


def test_a_fault_that_could_not_be_injected_is_told_and_does_not_count():
    broken = {"t": 6, "event": "broken", "name": "broker-kill", "reason": "no such process"}

    verdict = check([*job(), broken])

    assert verdict.accusations == ["harness: broker-kill: no such process"]
    assert verdict.faults == 0


def test_a_crash_point_counts_when_the_process_died_there():
    armed = [fault("worker-crash"), fault("worker-crash", t=8)]
    crash = {"t": 6, "event": "crash", "node": "w1", "point": "after-put-unit"}

    verdict = check([*job(), *armed, crash])

    assert (verdict.faults, verdict.classes) == (1, {"worker-crash": 1})


def test_executions_beyond_one_a_unit_are_wasted_work():
    events = [*job(), start("tile-0"), start("tile-0", t=4), start("core-0"), start("tile-0", t=6)]

    verdict = check(events)

    assert (verdict.executions, verdict.wasted) == (4, 2)


def test_a_repeated_request_is_not_work_done_twice():
    events = [*job("soak-1-00000"), *job("soak-1-00001"), start("tile-0"), start("core-0")]

    verdict = check(events)

    assert (verdict.jobs, verdict.units, verdict.wasted) == (2, 2, 0)


def test_the_bound_is_three_over_the_faults():
    events = [*job(), *(fault("worker-kill", t=t) for t in range(300))]

    verdict = check(events)

    assert verdict.bound == pytest.approx(0.01)
    assert "bound      below 1.00% a fault" in told(verdict)


def test_events_may_be_written_in_any_order():
    events = [*job(), fault("worker-kill")]

    assert check(reversed(events)) == check(events)
