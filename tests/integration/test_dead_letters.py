import json
import signal
from contextlib import ExitStack

import pytest

from app.jobs import JobState
from tests.support.private import PrivateCluster
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

SEED, TILE = 666, 3
LABEL = f"tile {TILE} of image 0"
REASON = "quarantined, 3 workers died of it"
REQUEST = {"prompt": "a map", "width": 256, "height": 192, "tile": 64, "overlap": 16, "nsr": 0.25}


@pytest.fixture
def site(services, tmp_path):
    return PrivateCluster(services, tmp_path)


def test_a_tile_that_kills_its_workers_is_quarantined_and_nothing_else_suffers(site):
    with ExitStack() as stack:
        control = stack.enter_context(site.control())
        workers = [
            stack.enter_context(site.worker(name, "kill", seed=SEED, tile=TILE))
            for name in ("w1", "w2")
        ]
        poisoned = site.submit(REQUEST | {"seed": SEED})
        other = site.submit(REQUEST | {"seed": 1})

        failed, succeeded = site.wait_for_end(poisoned), site.wait_for_end(other)
        letter, *copies = wait_for(lambda: with_message(site.dead("list")), limit_s=60)
        shown = site.dead("show", poisoned)

        assert (failed.state, failed.reason) == (JobState.FAILED, f"{LABEL}: {REASON}")
        assert succeeded.state is JobState.SUCCEEDED
        assert set(site.executed(other).values()) == {1}
        assert set(site.executed(poisoned).values()) == {1}
        ends = [end for worker in workers for end in worker.ends]
        # Of a first delivery nothing is recorded; the unit of a silent worker is sent once more.
        assert set(ends) == {-signal.SIGKILL}
        assert 4 <= len(ends) <= 6
        assert control.ends == []
        assert (letter["job"], letter["unit"], letter["reason"]) == (poisoned, LABEL, REASON)
        assert letter["queue"] == "render.gpu.v1"
        assert letter["at"] is not None
        assert shown == [letter, *copies]
        assert {(copy["job"], copy["unit"]) for copy in copies} <= {(poisoned, LABEL)}

    with site.control(), site.worker("w3"):
        sent, *_ = site.dead("requeue", poisoned)

        assert site.wait_for_end(poisoned).state is JobState.SUCCEEDED
        assert sent["unit"] == LABEL
        assert site.dead("list") == []
        assert list(site.runtime.store.keys("attempts/")) == []


def test_what_no_worker_can_read_is_kept_until_a_person_decides(site):
    with site.worker("w1") as worker:
        site.wait_ready("w1")
        site.publish(
            json.dumps([[], {}, {}]),
            content_type="application/json",
            content_encoding="utf-8",
            headers={"task": "workers.tasks.of_tomorrow", "id": "new-1"},
        )
        site.publish(b"\x80\x04.", content_type="application/x-python-serialize")

        letters = wait_for(lambda: two(site.dead("list")), limit_s=60)

        reasons = {letter["reason"]: letter["id"] for letter in letters}
        assert reasons["no worker knows task workers.tasks.of_tomorrow"] == "new-1"
        assert len(site.dead("list")) == 2  # looking takes nothing away

        site.dead("requeue", "new-1")
        wait_for(lambda: two(site.dead("list")), limit_s=60)  # refused once more
        site.dead("drop", "new-1")
        site.dead("drop", reasons["no worker can read it"])

        assert site.dead("list") == []
        assert worker.is_running
        assert worker.ends == []


def two(letters):
    return letters if len(letters) == 2 else None


def with_message(letters):
    """The letters whose message has arrived; the record is written before."""
    return [letter for letter in letters if letter["queue"]]
