"""What is kept and what goes, on real servers."""

import json
import os
import subprocess
import sys

import pytest

from app.domain.work import series_prefix
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("usual_workers")]

SMALL = {
    "prompt": "a map of what is kept",
    "width": 256,
    "height": 256,
    "tile": 128,
    "overlap": 32,
    "steps": 2,
    "model": "tiny",
}


def tilechord(cluster, *arguments) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        env=os.environ | cluster.env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_identical_order_is_answered_from_the_store_and_no_cache_renders_anew(cluster):
    first = cluster.client("render", SMALL)
    again = cluster.client("render", SMALL)
    anew = cluster.client("render", SMALL | {"cache": False})

    runs = [{run.unit for run in cluster.runs(one["job_id"])} for one in (first, again, anew)]
    assert [one["cached"] for one in (first, again, anew)] == [False, True, False]
    assert again["images"][0]["key"] == first["images"][0]["key"] != anew["images"][0]["key"]
    assert again["executions"] == first["executions"]
    assert runs[2] == runs[0]


def test_what_pictures_were_made_from_goes_and_a_cancelled_job_but_its_record(cluster):
    store, ledger = cluster.runtime.store, cluster.runtime.ledger
    done = cluster.client("render", SMALL | {"seed": 1})
    cancelled = cluster.client("submit", SMALL | {"seed": 2, "steps": 200})["job_id"]
    plan = wait_for(lambda: ledger.has_plan(cancelled) and ledger.plan(cancelled), limit_s=60)
    wait_for(lambda: any("/tile-" in key for key in store.keys(series_prefix(plan))), limit_s=60)
    tilechord(cluster, "cancel", cancelled)

    def clean() -> bool:  # a worker may have written what it was at
        tilechord(cluster, "clean", "--yes", "--intermediates-ttl", "0")
        left = json.loads(tilechord(cluster, "clean", "--intermediates-ttl", "0", "--json"))
        return left["removals"] == []

    wait_for(clean, limit_s=60)

    assert list(store.keys(series_prefix(plan))) == list(store.keys(f"plans/{plan.hash}/")) == []
    assert [key for key in store.keys("") if cancelled in key] == [
        f"jobs/{cancelled}/cancelled.json",
        f"jobs/{cancelled}/request.json",
    ]
    assert store.exists(done["images"][0]["key"])
    assert list(store.keys(series_prefix(ledger.plan(done["job_id"])))) == []
    assert cluster.client("resume", cancelled)["units"] > 0
