from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from app.bootstrap import runtime
from app.domain.spec import Priority
from app.entries import entry_of
from tests.support.installation import Installation
from tests.unit.cli.accepted import accept


def test_status_tells_how_far_a_job_is(installation: Installation) -> None:
    accept("job-1")

    result = installation.invoke("status", "job-1", "--json")

    assert json.loads(result.stdout) | {"plan_hash": ""} == {
        "job_id": "job-1",
        "state": "submitted",
        "stage": "base",
        "done": 0,
        "total": 54,
        "pictures": "0/1",
        "reason": None,
        "plan_hash": "",
    }


def test_status_tells_place_and_time_left_as_the_dispatcher_sees_them(
    installation: Installation,
) -> None:
    accept("job-in-line")
    record = {"position": 2, "eta_s": 90.0, "deadline_ms": 1000, "state": "open"}
    runtime().board.show("schedule", "job-in-line", record, ttl_s=60)

    told = json.loads(installation.invoke("status", "job-in-line", "--json").stdout)

    assert told["line"] == "2 before it"
    assert 30 < told["eta_s"] <= 90.0  # it passes while a slow machine answers
    assert told["will_be_late"]


def test_status_tells_of_a_paused_job_that_it_is(installation: Installation) -> None:
    accept("job-paused")
    record = {"position": 2, "eta_s": None, "state": "paused"}
    runtime().board.show("schedule", "job-paused", record, ttl_s=60)

    told = json.loads(installation.invoke("status", "job-paused", "--json").stdout)

    assert (told["line"], told["will_be_late"]) == ("paused", None)


def test_a_paused_job_stays_in_line_until_it_is_resumed(installation: Installation) -> None:
    accept("job-1")
    runtime().entries.add(entry_of("job-1", runtime().ledger.request("job-1")))

    result = installation.invoke("pause", "job-1")

    assert result.stdout == "job job-1 is paused; go on with: tilechord resume job-1\n"
    assert [entry.is_paused for entry in runtime().entries.all()] == [True]


def test_a_job_moves_to_another_class(installation: Installation) -> None:
    accept("job-1")
    runtime().entries.add(entry_of("job-1", runtime().ledger.request("job-1")))

    result = installation.invoke("prioritise", "job-1", "high")

    assert result.stdout == "job job-1 has priority high\n"
    assert [entry.priority for entry in runtime().entries.all()] == [Priority.HIGH]


def test_a_class_that_does_not_exist_is_refused(installation: Installation) -> None:
    accept("job-1")

    result = installation.invoke("prioritise", "job-1", "urgent")

    assert (result.exit_code, result.stderr) == (
        2,
        "tilechord: priority must be high, normal or low, got 'urgent'\n",
    )


@pytest.mark.parametrize(
    ("command", "deed"),
    [(["pause", "job-1"], "paused"), (["prioritise", "job-1", "low"], "moved")],
    ids=["pause", "prioritise"],
)
def test_a_job_that_has_ended_takes_no_orders(
    installation: Installation, command: list[str], deed: str
) -> None:
    accept("job-1").fail("job-1", "the device is gone")

    result = installation.invoke(*command)

    assert (result.exit_code, result.stderr) == (
        2,
        f"tilechord: job job-1 cannot be {deed}, it has failed\n",
    )


def test_status_of_a_failed_job_is_no_failure_of_the_command(installation: Installation) -> None:
    accept("job-1").fail("job-1", "tile 3 of image 0: the device is gone")

    result = installation.invoke("status", "job-1")

    assert result.exit_code == 0
    assert "reason     tile 3 of image 0: the device is gone" in result.stdout


def test_watching_a_failed_job_ends_with_its_reason(installation: Installation) -> None:
    accept("job-1").fail("job-1", "tile 3 of image 0: the device is gone")

    result = installation.invoke("watch", "job-1")

    assert (result.exit_code, result.stderr) == (
        1,
        "tilechord: tile 3 of image 0: the device is gone\n",
    )


def test_a_cancelled_job_is_told_by_status_watch_and_fetch(installation: Installation) -> None:
    accept("job-1")

    assert installation.invoke("cancel", "job-1").stdout == "job job-1 is cancelled\n"
    assert "state      cancelled" in installation.invoke("status", "job-1").stdout
    assert installation.invoke("watch", "job-1").exit_code == 1
    assert installation.invoke("fetch", "job-1").stderr == (
        "tilechord: job job-1 has no picture, it is cancelled\n"
    )


def test_a_job_that_has_ended_cannot_be_cancelled(installation: Installation) -> None:
    accept("job-1").fail("job-1", "no room")

    result = installation.invoke("cancel", "job-1")

    assert (result.exit_code, result.stderr) == (
        2,
        "tilechord: job job-1 cannot be cancelled, it has failed\n",
    )


def test_fetching_an_unfinished_job_says_where_it_stands(installation: Installation) -> None:
    accept("job-1")

    result = installation.invoke("fetch", "job-1", "-o", "out.png")

    assert (result.exit_code, result.stderr) == (
        5,
        "tilechord: job job-1 has no picture, it is submitted\n",
    )
    assert not Path("out.png").exists()


def test_jobs_lists_every_job_one_a_line(installation: Installation) -> None:
    accept("job-1")
    accept("job-2", prompt="two\nlines and a [bracket]", tenant="studio").fail("job-2", "no room")

    result = installation.invoke("jobs")

    assert result.stdout.splitlines() == [
        "job-1\tsubmitted\t0/54\t0/1\t256x192\tnormal\tdefault\ta hill",
        "job-2\tfailed\t0/54\t0/1\t256x192\tnormal\tstudio\ttwo lines and a [bracket]",
    ]


def test_the_newest_job_is_listed_last_whatever_became_of_older_ones(
    installation: Installation,
) -> None:
    for name, age_s in (("b", 30), ("c", 20), ("a", 10)):
        accept(name)
        for path in (installation.store / "jobs" / name).iterdir():
            os.utime(path, (time.time() - age_s,) * 2)
    runtime().ledger.fail("b", "no room")

    listed = json.loads(installation.invoke("jobs", "--json").stdout)

    assert [row["job_id"] for row in listed] == ["b", "c", "a"]


def test_jobs_tells_the_class_that_a_job_was_moved_to(installation: Installation) -> None:
    accept("job-1", priority="low")
    runtime().entries.add(entry_of("job-1", runtime().ledger.request("job-1")))
    installation.invoke("prioritise", "job-1", "high")

    listed = json.loads(installation.invoke("jobs", "--json").stdout)

    assert [(row["job_id"], row["priority"]) for row in listed] == [("job-1", "high")]


def test_jobs_json_of_an_empty_store_is_an_empty_list(installation: Installation) -> None:
    assert json.loads(installation.invoke("jobs", "--json").stdout) == []
