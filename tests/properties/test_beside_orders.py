"""Orders that come while somebody cleans: each gets its picture, and keeps what is left."""

import pytest

from app import workflow
from app.cache import is_whole
from app.domain.work import Stage, plan_prefix
from app.entries import entry_of
from app.retention.cleaning import Cleaner
from app.schemas import RenderRequest
from tests.unit.retention.conftest import catalogue, shelf
from tests.unit.retention.shelf import (
    AT_ONCE,
    DAY_S,
    RESULTS_TOO,
    Shelf,
    deletes_of,
    ended,
    names,
    request_of,
)

__all__ = ["catalogue", "shelf"]

NEVER = float("inf")


def succeeded(shelf) -> list[str]:
    return [job_id for job_id in shelf.ledger.job_ids() if shelf.ledger.has_result(job_id)]


@pytest.mark.parametrize(
    ("look_s", "fields"),
    [(0.0, {}), (0.0, {"format": "jpeg"}), (NEVER, {})],
    ids=["looks before each blob", "looks, another format", "never looks"],
)
@pytest.mark.parametrize("how", ["cancelled", "expired"])
def test_an_order_that_comes_at_any_blob_gets_its_picture(catalogue, look_s, fields, how):
    expected = picture_of(Shelf(catalogue), fields)
    total = deletes_of(ended(Shelf(catalogue), how))

    for turn in range(total):
        shelf = ended(Shelf(catalogue), how)
        come_at(shelf, turn, lambda shelf=shelf: shelf.order("new", **fields))
        shelf.let_pass(1)
        cleaner = Cleaner(shelf.runtime, look_s=look_s)
        cleaner.remove(cleaner.choose(RESULTS_TOO))

        for job_id in succeeded(shelf):  # answered at once: with a picture
            assert is_whole(shelf.store, shelf.plan(job_id)), (turn, job_id)
        if not shelf.ledger.has_result("new"):
            if shelf.ledger.has_lost_plan("new"):  # the dispatcher asks for another
                shelf.order("new", **fields)
            shelf.work("new")
            workflow.advance(shelf.runtime, "new")
        found = shelf.ledger.result("new")
        assert shelf.store.get(found.images[0].key) == expected
        assert shelf.ledger.failure("new") is None


def picture_of(shelf, fields) -> bytes:
    return shelf.store.get(shelf.finish("reference", **fields).images[0].key)


def come_at(shelf, turn, action) -> None:
    """Let *action* happen before the blob whose turn it is is removed."""
    left = [turn]

    def count(key):
        left[0] -= 1
        if left[0] < 0:
            shelf.store.before_delete = lambda key: None
            action()

    shelf.store.before_delete = count


def test_a_cleaner_that_looks_stops_as_soon_as_an_order_shares_the_folder(shelf):
    ended(shelf, "cancelled")
    blobs = len(shelf.made_from(shelf.plan("old")))
    series = shelf.plan("old").series
    gone = []

    def count(key):
        if series in key and key.startswith("plans/"):
            gone.append(key)
            if len(gone) == 2:
                shelf.order("new")

    shelf.store.before_delete = count
    done = shelf.clean()

    assert done.left + done.removed == 2  # whose turn is first is up to their hashes
    assert done.left >= 1
    assert len(gone) == 2
    assert len(shelf.made_from(shelf.plan("new"))) == blobs - 2


def test_a_result_that_was_handed_out_after_the_survey_stays(shelf):
    shelf.finish("old")
    shelf.let_pass(2 * DAY_S)
    cleaner = Cleaner(shelf.runtime)
    chosen = cleaner.choose(RESULTS_TOO)
    assert shelf.order("new").cached

    done = cleaner.remove(chosen)

    assert done.left >= 1
    assert is_whole(shelf.store, shelf.plan("new"))
    assert shelf.ledger.job_ids() == ["new"]


def test_a_job_that_is_resumed_in_the_middle_keeps_its_plan(shelf):
    shelf.order("job")
    shelf.work("job", until=Stage.CORE)
    shelf.cancel("job")
    planned = shelf.plan("job")

    def resume(key):
        if key.startswith(plan_prefix(planned)) or "runs" in key:
            shelf.store.before_delete = lambda key: None
            shelf.ledger.reopen("job")
            shelf.runtime.entries.add(entry_of("job", request_of()))

    shelf.store.before_delete = resume
    done = shelf.clean()

    assert done.left >= 1  # the plan's folder, and the series' if its turn is later
    assert shelf.plan("job") == planned


def test_an_upload_that_a_new_job_names_stays(shelf):
    key = "inputs/" + "a" * 64
    shelf.store.put(key, b"a picture")
    shelf.let_pass(2 * DAY_S)
    cleaner = Cleaner(shelf.runtime)
    chosen = cleaner.choose(AT_ONCE)
    shelf.ledger.submit("new", RenderRequest(prompt="a map", init_image=key))

    cleaner.remove(chosen)

    assert names(chosen) == {("input", key)}
    assert shelf.store.exists(key)
