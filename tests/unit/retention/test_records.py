"""Records that cannot be read: what they may name stays, and nobody else's keeps back."""

import pytest

from app.cache import is_whole
from app.domain.errors import ConfigurationError, StorageUnavailableError
from app.domain.work import Stage, plan_key, series_prefix
from app.retention.cleaning import Cleaner
from tests.support.damage import damage
from tests.unit.retention.shelf import AT_ONCE, DAY_S, RESULTS_TOO, request_of

PICTURE = "inputs/" + "a" * 64
REFUSALS = [
    StorageUnavailableError("store m cannot serve the blob"),
    ConfigurationError("S3 credentials must be allowed to read the blob"),
]


@pytest.fixture
def refuse(shelf, monkeypatch):
    """Let the store refuse some keys; which it was asked for."""
    get, asked = shelf.store.get, []

    def refuse(keys, error=REFUSALS[0]):
        def refused(key):
            if key in keys:
                asked.append(key)
                raise error
            return get(key)

        monkeypatch.setattr(shelf.store, "get", refused)
        return asked

    return refuse


@pytest.fixture
def cancelled(shelf):
    """A job of which nothing is to be kept but its record; whether anything is."""
    shelf.order("cancelled", seed=9)
    shelf.work("cancelled", until=Stage.CORE)
    plan = shelf.plan("cancelled")
    shelf.cancel("cancelled")
    return lambda: bool(shelf.made_from(plan))


def begun(shelf, job_id="bad"):
    """The plan of a job that is half done."""
    shelf.order(job_id)
    shelf.work(job_id, until=Stage.CORE)
    return shelf.plan(job_id)


def overwrite(shelf, key, data):
    shelf.store.delete(key)
    shelf.store.put(key, data)


@pytest.mark.parametrize(
    "record", [b"{", b"7", b"{}", b'{"plan_hash": 7}', b'{"plan_hash": "../x"}', b"\xff"]
)
def test_a_plan_record_that_says_nothing_keeps_back_no_other_job(shelf, cancelled, record):
    plan = begun(shelf)
    overwrite(shelf, "jobs/bad/plan.json", record)
    made = shelf.made_from(plan)

    shelf.clean()

    assert made == shelf.made_from(plan) != []
    assert not cancelled()


@pytest.mark.parametrize("error", REFUSALS, ids=["unavailable", "forbidden"])
def test_a_plan_record_that_the_store_refuses_keeps_back_no_other_job(
    shelf, cancelled, refuse, error
):
    plan = begun(shelf)
    made = shelf.made_from(plan)
    refuse({"jobs/bad/plan.json"}, error)

    shelf.clean()

    assert made == shelf.made_from(plan) != []
    assert not cancelled()


def test_what_an_open_job_may_use_stays_where_its_plan_is_damaged(shelf, cancelled):
    plan = begun(shelf)
    damage(shelf.store, plan_key(plan.hash))
    made = shelf.made_from(plan)

    shelf.clean()

    assert made == shelf.made_from(plan) != []
    assert not cancelled()


def test_what_an_open_job_starts_from_stays_where_the_plan_of_that_is_damaged(shelf):
    shelf.finish("job")
    parent = shelf.plan("job")
    box = {"top": 0, "left": 0, "bottom": 64, "right": 64}
    shelf.order("part", rerender={"plan_hash": parent.hash, "box": box}, mode=str(parent.spec.mode))
    shelf.store.delete("jobs/job/plan.json")
    damage(shelf.store, plan_key(parent.hash))

    shelf.clean()

    assert shelf.made_from(parent) != []


def test_a_damaged_plan_record_keeps_back_less_when_the_result_names_the_plan(shelf):
    manifest = shelf.finish("done")
    damage(shelf.store, "jobs/done/plan.json")
    shelf.store.put("plans/nobodys/image-0000/prepared", b"")

    shelf.clean()

    assert set(shelf.blobs("plans/")) == set(shelf.blobs(f"plans/{manifest.plan_hash}/"))
    assert shelf.store.exists(manifest.images[0].key)


def test_a_picture_stays_when_neither_record_tells_whose_it_is(shelf):
    shelf.finish("done")
    plan = shelf.plan("done")
    damage(shelf.store, "jobs/done/plan.json")
    damage(shelf.store, "jobs/done/result.json")

    shelf.clean()

    assert is_whole(shelf.store, plan)


def test_a_picture_goes_with_the_damaged_records_that_are_too_old(shelf):
    shelf.finish("done")
    for name in ("plan", "result"):
        damage(shelf.store, f"jobs/done/{name}.json")
    shelf.let_pass(2 * DAY_S)

    shelf.clean(RESULTS_TOO)
    shelf.clean(RESULTS_TOO)

    assert shelf.blobs() == []


@pytest.mark.parametrize("is_refused", [True, False], ids=["refused", "damaged"])
def test_an_upload_stays_while_a_request_that_may_name_it_cannot_be_read(shelf, refuse, is_refused):
    shelf.ledger.submit("job", request_of(init_image=PICTURE))
    shelf.store.put(PICTURE, b"12345")
    shelf.let_pass(2 * DAY_S)
    if is_refused:
        refuse({"jobs/job/request.json"})
    else:
        damage(shelf.store, "jobs/job/request.json")

    assert shelf.choose() == []


def test_a_refused_record_is_read_once_in_a_cleaning_and_again_in_the_next(shelf, refuse):
    begun(shelf)
    asked = refuse({"jobs/bad/plan.json"})
    cleaner = Cleaner(shelf.runtime, look_s=0)

    for _ in range(2):
        shelf.order("cancelled", seed=9)
        shelf.cancel("cancelled")
        cleaner.remove(cleaner.choose(AT_ONCE))
        shelf.ledger.forget("cancelled")

    assert len(asked) == 2


def test_a_store_that_refuses_all_records_ends_a_cleaning(shelf, cancelled, refuse):
    for number in range(20):
        shelf.order(f"job-{number}", seed=number)
    asked = refuse({f"jobs/job-{number}/plan.json" for number in range(20)})

    with pytest.raises(StorageUnavailableError):
        shelf.clean()

    assert len(asked) < 10
    assert cancelled()


def test_a_job_that_came_meanwhile_and_cannot_be_read_stops_a_cleaning_alone(shelf, cancelled):
    shelf.let_pass(1)
    cleaner = Cleaner(shelf.runtime, look_s=0)
    chosen = cleaner.choose(AT_ONCE)
    shelf.ledger.submit("new", request_of(seed=9))
    damage(shelf.store, "jobs/new/request.json")

    done = cleaner.remove(chosen)
    assert (done.removed, done.left) == (0, len(chosen))
    assert cancelled()

    assert cleaner.remove(cleaner.choose(AT_ONCE)).removed == len(chosen)
    assert not cancelled()


def test_what_another_version_planned_keeps_the_folders_of_its_open_job(shelf):
    plan = begun(shelf)
    overwrite(shelf, plan_key(plan.hash), b'{"version": 99}')

    shelf.clean()
    assert shelf.blobs(series_prefix(plan)) != []

    shelf.cancel("bad")
    shelf.clean()
    assert shelf.blobs(series_prefix(plan)) == []
