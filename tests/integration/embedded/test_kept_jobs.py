"""Jobs whose blobs went while nobody worked for them, in the worker of this process."""

from __future__ import annotations

from app import client, embedded
from app.bootstrap import runtime
from app.domain.retention import RetentionRules
from app.jobs import JobState
from app.retention.cleaning import Cleaner
from app.schemas import Manifest
from app.tasks import render
from tests.integration.embedded.conftest import REQUEST, WAIT_S
from tests.support.waiting import wait_for

AT_ONCE = RetentionRules(intermediates_ttl_s=0, results_ttl_s=0, max_store_bytes=0)


def finished(job_id: str) -> Manifest:
    app = runtime()
    wait_for(lambda: app.ledger.has_result(job_id) and not app.entries.find(job_id), limit_s=WAIT_S)
    return runtime().ledger.result(job_id)


def clean() -> list[str]:
    """Remove what may go; the blobs that are left."""
    cleaner = Cleaner(runtime())
    cleaner.remove(cleaner.choose(AT_ONCE))
    return list(runtime().store.keys(""))


def test_a_cancelled_job_of_which_nothing_is_kept_can_be_resumed(installation):
    installation.accept("job")
    runtime().ledger.cancel("job")
    assert clean() == ["jobs/job/cancelled.json", "jobs/job/request.json"]

    with embedded.worker():
        assert client.resume("job")
        manifest = finished("job")

    assert runtime().store.exists(manifest.images[0].key)
    assert runtime().ledger.status("job").state is JobState.SUCCEEDED


def test_a_job_whose_plan_was_lost_can_be_resumed(installation):
    installation.accept("job")
    plan = runtime().ledger.plan("job")
    runtime().store.delete(f"plans/{plan.hash}/plan.json")
    assert runtime().ledger.status("job").plan_hash is None

    with embedded.worker():
        client.resume("job")
        manifest = finished("job")

    assert manifest.plan_hash == plan.hash


def test_a_finished_job_is_not_rendered_again_because_its_intermediates_went():
    with embedded.worker():
        job_id = render.delay(REQUEST).id
        manifest = finished(job_id)
    clean()

    assert not client.resume(job_id)
    assert client.result(job_id) == manifest
    assert list(runtime().store.keys("runs/")) == []


def test_another_order_of_the_series_renders_again_what_is_gone():
    with embedded.worker():
        first = finished(render.delay(REQUEST).id)
        clean()
        second = finished(render.delay(REQUEST | {"tags": {"for": "print"}}).id)

    store = runtime().store
    assert second.units > 0
    assert second.images[0].key != first.images[0].key
    assert store.exists(first.images[0].key)


def test_the_second_identical_order_executes_nothing():
    with embedded.worker():
        first = finished(render.delay(REQUEST).id)
        runs = list(runtime().store.keys("runs/"))
        second = finished(render.delay(REQUEST).id)
        third = finished(render.delay(REQUEST | {"cache": False}).id)

    assert (first.cached, second.cached, third.cached) == (False, True, False)
    assert set(runs) < set(runtime().store.keys("runs/"))
    assert second.executions == len(runs)
    assert third.executions == first.executions
    first_bytes, third_bytes = (runtime().store.get(one.images[0].key) for one in (first, third))
    assert first_bytes == third_bytes


def test_the_command_line_says_that_a_job_is_begun_anew(installation):
    installation.accept("job")
    runtime().ledger.cancel("job")
    clean()

    result = installation.invoke("resume", "job", "-o", "out.png")

    assert result.exit_code == 0, result.output
    assert "nothing that was rendered of job job is kept, it is begun anew" in result.stderr
    assert (installation.root / "out.png").exists()
