"""Identical orders: when the stored result is handed out, and when it is rendered anew."""

import time
from dataclasses import replace

import pytest

from app import client, workflow
from app.bootstrap import Runtime
from app.cache import is_whole, mark_key, plan_of_order
from app.cards import Catalogue
from app.domain.work import Stage, Work, next_work, plan_prefix, work_of
from app.jobs import JobLedger, present_keys
from app.live.memory import MemoryBoard
from app.measuring import quality_key
from app.schemas import read_request
from app.settings import Settings
from app.storage.memory import MemoryStore
from tests.support.card_model import write_card_model
from tests.support.damage import damage
from tests.unit.domain.cards import plan as plan_of
from tests.unit.workflow.scene import finish

FIELDS = {"prompt": "a map", "height": 128, "width": 160}
REQUEST = read_request(FIELDS)
ANEW = read_request(FIELDS | {"cache": False})
HOUR_S = 3600.0


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_card_model(folder / "tiny")
    return Catalogue([folder])


@pytest.fixture
def store():
    return MemoryStore()


def installation(store, catalogue, **values) -> Runtime:
    chosen = Settings(model="tiny", broker_url="amqp://localhost//", **values)
    return Runtime(chosen, store, JobLedger(store), catalogue, MemoryBoard())


@pytest.fixture
def runtime(store, catalogue):
    return installation(store, catalogue)


def age(store, plan, by_s):
    """Let the pictures of *plan* be older than they are."""
    for key in store.keys(plan_prefix(plan)):
        store._modified_s[key] -= by_s


def picture_of(runtime, job_id) -> str:
    return Work(Stage.PICTURE, 0).key(runtime.ledger.plan(job_id))


def test_no_unit_is_left_to_do_for_an_identical_order(runtime):
    first = finish(runtime, "first", REQUEST)

    second = workflow.start(runtime, "second", REQUEST)

    assert second.cached
    assert second.images == first.images
    assert second.executions == first.executions


def test_an_order_without_cache_is_rendered_beside_the_first_result(runtime, store):
    first = finish(runtime, "first", REQUEST)
    before = store.get(first.images[0].key)

    assert workflow.start(runtime, "second", ANEW) is None

    second = finish(runtime, "second", ANEW)
    assert not second.cached
    assert second.images[0].key != first.images[0].key
    assert store.get(first.images[0].key) == before
    assert store.get(second.images[0].key) == before  # nor does its file tell them apart


def test_after_an_order_without_cache_the_first_result_is_still_the_one_handed_out(runtime):
    first = finish(runtime, "first", REQUEST)
    finish(runtime, "second", ANEW)

    assert workflow.start(runtime, "third", REQUEST).images == first.images


def test_the_message_of_an_order_without_cache_may_come_twice(runtime):
    workflow.start(runtime, "job", ANEW)
    planned = runtime.ledger.plan("job")

    assert workflow.start(runtime, "job", ANEW) is None
    assert runtime.ledger.plan("job") == planned
    assert planned.run == "job"


def test_a_message_that_comes_again_leaves_its_job_to_the_dispatcher(runtime):
    workflow.start(runtime, "job", REQUEST)
    finish(runtime, "other", REQUEST)

    assert workflow.start(runtime, "job", REQUEST) is None
    assert not workflow.advance(runtime, "job").cached


@pytest.mark.parametrize("harm", ["gone", "damaged", "another"])
def test_a_stored_picture_that_is_not_whole_is_rendered_again(runtime, store, harm):
    first = finish(runtime, "first", REQUEST)
    key = first.images[0].key
    if harm == "damaged":
        damage(store, key)
    else:
        store.delete(key)
    if harm == "another":
        store.put(key, b"not what its record says")

    assert workflow.start(runtime, "second", REQUEST) is None

    plan = runtime.ledger.plan("second")
    assert not store.exists(key)
    workflow.advance(runtime, "second")  # its cores are still there
    assert runtime.ledger.result("second").images == first.images
    assert is_whole(store, plan)


def test_what_is_told_about_a_damaged_picture_goes_with_it(runtime, store):
    first = finish(runtime, "first", REQUEST)
    damage(store, first.images[0].key)

    is_whole(store, runtime.ledger.plan("first"))

    gone = [first.images[0].key, f"{first.images[0].key}.json"]
    gone.append(quality_key(runtime.ledger.plan("first"), 0))
    assert not any(store.exists(key) for key in gone)


def test_a_result_that_is_too_old_is_rendered_anew_and_stays(store, catalogue):
    runtime = installation(store, catalogue, cache_ttl_s=HOUR_S)
    first = finish(runtime, "first", REQUEST)
    age(store, runtime.ledger.plan("first"), 2 * HOUR_S)

    assert workflow.start(runtime, "second", REQUEST) is None

    second = finish(runtime, "second", REQUEST)
    assert store.exists(first.images[0].key)
    assert workflow.start(runtime, "third", REQUEST).images == second.images


def test_a_result_that_is_young_enough_is_handed_out(store, catalogue):
    runtime = installation(store, catalogue, cache_ttl_s=HOUR_S)
    finish(runtime, "first", REQUEST)
    age(store, runtime.ledger.plan("first"), HOUR_S / 2)

    assert workflow.start(runtime, "second", REQUEST).cached


def test_orders_that_find_an_old_result_share_what_replaces_it(store):
    plan = plan_of(height=512, width=512)
    for group in work_of(plan):
        for work in group:
            store.put(work.key(plan), b"{}")
    age(store, plan, 5 * HOUR_S)
    now_s = 1_000_000 * HOUR_S + 1

    def chosen(after_s):
        options = {"is_cached": True, "ttl_s": HOUR_S, "now_s": now_s + after_s}
        return plan_of_order(store, plan, "job", **options)

    again = chosen(0)
    assert again.run == f"from-{round(now_s - 1)}"
    assert chosen(HOUR_S - 2) == again
    store.put(Work(Stage.PICTURE, 0).key(again), b"")
    store._modified_s[Work(Stage.PICTURE, 0).key(again)] = now_s + HOUR_S - 2
    assert chosen(HOUR_S + 60) == again  # of the slot before, but not an hour old
    assert chosen(2 * HOUR_S) == replace(plan, run=f"from-{round(now_s - 1 + 2 * HOUR_S)}")


def test_pictures_that_somebody_removes_are_nobodys_result(runtime, store):
    finish(runtime, "first", REQUEST)
    mark = mark_key(runtime.ledger.plan("first").hash, time.time(), "cleaner")
    store.put(mark, b"")

    assert workflow.start(runtime, "second", REQUEST) is None
    assert workflow.advance(runtime, "second") is None

    store.delete(mark)
    assert workflow.advance(runtime, "second") is not None


def test_the_mark_of_a_cleaner_that_died_is_ignored_in_time(runtime, store):
    finish(runtime, "first", REQUEST)
    store.put(mark_key(runtime.ledger.plan("first").hash, 1000.0, "cleaner"), b"")

    assert workflow.start(runtime, "second", REQUEST).cached


def test_a_client_gets_a_stored_result_without_any_worker(runtime, store, monkeypatch):
    monkeypatch.setattr("app.client.runtime", lambda: runtime)
    first = finish(runtime, "first", REQUEST)

    found = client.from_store(REQUEST)

    assert found.cached
    assert found.images == first.images
    assert runtime.ledger.result(found.job_id) == found
    assert runtime.entries.all() == []


@pytest.mark.parametrize("request_", [REQUEST, ANEW], ids=["nothing there", "not wanted"])
def test_a_client_that_has_to_wait_leaves_no_job(runtime, store, monkeypatch, request_):
    monkeypatch.setattr("app.client.runtime", lambda: runtime)
    if request_ is ANEW:
        finish(runtime, "first", REQUEST)
    before = list(store.keys("jobs/"))

    assert client.from_store(request_) is None
    assert list(store.keys("jobs/")) == before


def test_a_client_takes_its_job_back_when_the_result_is_being_removed(runtime, store, monkeypatch):
    monkeypatch.setattr("app.client.runtime", lambda: runtime)
    finish(runtime, "first", REQUEST)
    store.put(mark_key(runtime.ledger.plan("first").hash, time.time(), "cleaner"), b"")

    assert client.from_store(REQUEST) is None
    assert {key.split("/")[1] for key in store.keys("jobs/")} == {"first"}


@pytest.mark.parametrize("pyramid", [True, False], ids=["first without", "first with"])
def test_the_same_order_with_a_pyramid_renders_nothing_again(runtime, store, pyramid):
    with_it = read_request(FIELDS | {"pyramid": True})
    first, second = (REQUEST, with_it) if pyramid else (with_it, REQUEST)
    before = finish(runtime, "first", first)

    assert workflow.start(runtime, "second", second) is None
    plan = runtime.ledger.plan("second")
    assert [work.stage for work in next_work(plan, present_keys(store, plan))] == [Stage.PICTURE]
    after = workflow.advance(runtime, "second")

    assert before.plan_hash != after.plan_hash
    assert (after.images[0].pyramid is not None) is pyramid
    assert (before.images[0].pyramid is not None) is not pyramid
    assert workflow.start(runtime, "third", second).images == after.images
