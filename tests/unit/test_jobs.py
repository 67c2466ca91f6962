import json

import pytest

from app.domain.errors import InvalidRequestError, NotFoundError
from app.domain.work import Stage, Work, work_of
from app.jobs import JobLedger, JobState
from app.schemas import Manifest, PictureRecord, read_request
from app.storage.memory import MemoryStore
from tests.unit.domain.cards import plan

REQUEST = read_request({"prompt": "a map", "priority": "high"})
RENDER = plan(height=512, width=512)


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def ledger(store):
    ledger = JobLedger(store)
    ledger.accept("job-1", REQUEST, RENDER)
    return ledger


def manifest(job_id="job-1") -> Manifest:
    return Manifest(
        job_id=job_id,
        plan_hash=RENDER.hash,
        images=[],
        quality={},
        timings={},
        workers={},
        executions=0,
        units=0,
    )


def test_an_accepted_job_gives_back_what_was_asked(ledger):
    assert ledger.request("job-1") == REQUEST
    assert ledger.plan("job-1") == RENDER
    assert ledger.status("job-1").state is JobState.SUBMITTED


def test_a_job_runs_once_a_unit_is_done_and_counts_units(ledger, store):
    store.put(Work(Stage.BASE, 0).key(RENDER), b"")

    status = ledger.status("job-1")

    assert status.state is JobState.RUNNING
    assert (status.progress.done, status.progress.stage) == (1, Stage.PREPARE)


def test_the_first_result_counts(ledger, store):
    first = ledger.finish(manifest())
    second = ledger.finish(manifest().model_copy(update={"units": 99}))

    assert second == first
    assert ledger.status("job-1").state is JobState.SUCCEEDED


def test_urls_are_made_when_a_result_is_read_and_never_stored(ledger, store, monkeypatch):
    signed = iter(["monday", "monday", "tuesday", "tuesday"])
    monkeypatch.setattr(store, "url", lambda key: f"https://store/{key}?signed={next(signed)}")
    small = {"key": "plans/p/small.jpg", "url": "https://store/expired", "height": 8, "width": 8}
    picture = PictureRecord(
        key="plans/p/image-0.png",
        url="https://store/expired",
        height=8,
        width=8,
        format="png",
        sha256="0" * 64,
        size_bytes=1,
        thumbnail=small,
    )

    first = ledger.finish(manifest().model_copy(update={"images": [picture]}))
    later = ledger.result("job-1")

    assert first.images[0].url == "https://store/plans/p/image-0.png?signed=monday"
    assert later.images[0].url == "https://store/plans/p/image-0.png?signed=tuesday"
    assert first.images[0].thumbnail.url == "https://store/plans/p/small.jpg?signed=monday"
    assert later.images[0].thumbnail.url == "https://store/plans/p/small.jpg?signed=tuesday"
    assert b"https" not in store.get("jobs/job-1/result.json")


def test_the_first_reason_of_a_failure_counts(ledger):
    ledger.fail("job-1", "tile 3 of image 0 is not finite")
    ledger.fail("job-1", "something later")

    assert ledger.status("job-1").state is JobState.FAILED
    assert ledger.failure("job-1") == "tile 3 of image 0 is not finite"


def test_a_result_outlives_a_failure_recorded_beside_it(ledger):
    ledger.fail("job-1", "a late duplicate found the disk full")
    ledger.finish(manifest())

    status = ledger.status("job-1")

    assert (status.state, status.reason) == (JobState.SUCCEEDED, None)


def test_a_failed_job_can_be_reopened(ledger):
    ledger.fail("job-1", "the disk was full")

    ledger.reopen("job-1")

    assert ledger.status("job-1").state is JobState.SUBMITTED


def test_a_cancelled_job_says_so(ledger):
    ledger.cancel("job-1")

    assert ledger.is_cancelled("job-1")
    assert ledger.status("job-1").state is JobState.CANCELLED


def test_jobs_of_the_same_plan_share_its_blobs(ledger, store):
    for group in work_of(RENDER):
        for work in group:
            store.put(work.key(RENDER), b"")

    ledger.accept("job-2", REQUEST, RENDER)

    assert ledger.status("job-2").progress.stage is None


def test_a_forgotten_job_leaves_nothing_and_a_withdrawn_one_a_mark():
    store = MemoryStore()
    ledger = JobLedger(store)
    for job_id in ("forgotten", "withdrawn"):
        ledger.submit(job_id, REQUEST)

    ledger.accept("withdrawn", REQUEST, RENDER)  # its message arrived before its client gave up

    ledger.forget("forgotten")
    ledger.withdraw("withdrawn")

    assert ledger.job_ids() == []
    assert list(store.keys("jobs/")) == []
    assert list(store.keys("withdrawn/")) == ["withdrawn/withdrawn"]
    assert ledger.is_withdrawn("withdrawn")
    ledger.submit("withdrawn", REQUEST)
    assert not ledger.is_withdrawn("withdrawn")


def test_a_job_with_a_picture_is_not_withdrawn(ledger):
    ledger.finish(manifest())

    ledger.withdraw("job-1")

    assert ledger.status("job-1").state is JobState.SUCCEEDED
    assert not ledger.is_withdrawn("job-1")


def test_jobs_are_listed_in_the_order_of_their_acceptance(ledger):
    ledger.accept("a-job", REQUEST, RENDER)

    assert ledger.job_ids() == ["job-1", "a-job"]


@pytest.mark.parametrize("call", ["plan", "request", "status", "cancel"])
def test_an_unknown_job_is_named(ledger, call):
    with pytest.raises(NotFoundError, match=r"^job nope is not known$"):
        getattr(ledger, call)("nope")


@pytest.mark.parametrize("job_id", ["../x", "", "A", "a/b", "x" * 101])
def test_a_job_id_that_is_no_name_is_refused_before_the_store_is_touched(ledger, job_id):
    with pytest.raises(InvalidRequestError, match=r"^job id must be up to 100 characters of"):
        ledger.status(job_id)


def test_a_result_from_before_there_were_thumbnails_can_be_read(ledger, store):
    key, size = "plans/p/image-0.png", {"height": 8, "width": 8, "size_bytes": 1}
    store.put(key, b"a picture")
    picture = {"key": key, "format": "png", "sha256": "0" * 64} | size
    record = manifest().model_dump(mode="json") | {"images": [picture]}
    store.put("jobs/job-1/result.json", json.dumps(record).encode())

    (image,) = ledger.result("job-1").images

    assert image.thumbnail is None
    assert image.url == store.url(key)
