"""What is removed, what stays, and what happens to those who come in the middle of it."""

from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from app.cache import is_whole, mark_key
from app.domain.errors import NotFoundError, StorageUnavailableError
from app.domain.retention import RetentionRules
from app.domain.work import Stage, Work, plan_key, plan_prefix
from app.jobs import JobState
from app.retention.cleaning import Cleaner, rules_of
from app.settings import Settings
from tests.unit.retention.shelf import (
    AT_ONCE,
    DAY_S,
    RESULTS_TOO,
    Shelf,
    deletes_of,
    ended,
    names,
)

KEEP = replace(AT_ONCE, intermediates_ttl_s=365 * DAY_S)


def test_what_a_picture_was_made_from_goes_and_the_picture_stays(shelf):
    manifest = shelf.finish("job")
    picture, plan = shelf.store.get(manifest.images[0].key), shelf.plan("job")

    shelf.clean()

    assert shelf.made_from(plan) == shelf.blobs("runs/") == []
    assert shelf.store.get(manifest.images[0].key) == picture
    assert shelf.ledger.result("job") == manifest
    assert shelf.ledger.status("job").state is JobState.SUCCEEDED


def test_nothing_is_left_of_a_cancelled_job_but_its_record(shelf):
    shelf.order("job")
    shelf.work("job", until=Stage.CORE)
    shelf.cancel("job")

    shelf.clean()

    assert shelf.blobs() == ["jobs/job/cancelled.json", "jobs/job/request.json"]
    assert shelf.ledger.status("job").state is JobState.CANCELLED


def test_the_record_of_a_cancelled_job_is_kept_as_long_as_results_are(shelf):
    shelf.order("job")
    shelf.cancel("job")
    shelf.store.put("dead/job/0001.json", b"{}")
    shelf.let_pass(365 * DAY_S)

    shelf.clean()

    assert shelf.blobs("jobs/") == ["jobs/job/cancelled.json", "jobs/job/request.json"]
    shelf.clean(RESULTS_TOO)
    assert shelf.blobs() == []


def test_a_failed_job_keeps_its_reason(shelf):
    shelf.order("job")
    shelf.work("job", until=Stage.CORE)
    shelf.ledger.fail("job", "tile 3 of image 0: the GPU is on fire")
    shelf.runtime.entries.close("job")

    shelf.clean()

    assert shelf.blobs("plans/") == []
    assert shelf.ledger.status("job").reason == "tile 3 of image 0: the GPU is on fire"


def test_nothing_that_an_open_job_uses_goes(shelf):
    shelf.order("job")
    shelf.work("job", until=Stage.CORE)
    before = shelf.blobs()

    shelf.clean(RetentionRules(0, 0.5, 1))

    assert shelf.blobs() == before


@pytest.mark.parametrize("fields", [{"format": "jpeg"}, {"count": 2}, {"tags": {"a": "b"}}])
def test_what_an_open_order_of_the_same_series_shares_stays(shelf, fields):
    shelf.finish("first")
    shelf.order("second", **fields)
    shared = shelf.made_from(shelf.plan("second"))

    shelf.clean(RetentionRules(0, 0.5, 1))

    assert shared
    assert shelf.made_from(shelf.plan("second")) == shared


def test_a_dry_run_removes_nothing_and_tells_the_bytes(shelf):
    shelf.finish("job")
    before, plan = shelf.blobs(), shelf.plan("job")

    chosen = shelf.choose()

    assert names(chosen) == {("intermediates", plan.hash), ("intermediates", plan.series)}
    sizes = sum(len(shelf.store.get(key)) for key in shelf.made_from(plan))
    assert sum(removal.size_bytes for removal in chosen) == sizes
    assert shelf.blobs() == before


def test_what_was_used_lately_stays(shelf):
    shelf.finish("job")
    shelf.let_pass(3600)

    assert shelf.choose(replace(AT_ONCE, intermediates_ttl_s=7200)) == []
    assert shelf.choose(replace(AT_ONCE, intermediates_ttl_s=1800)) != []


def test_an_old_result_goes_with_the_records_of_its_jobs(shelf):
    shelf.finish("first")
    shelf.order("second")
    shelf.let_pass(2 * DAY_S)

    shelf.clean(RESULTS_TOO)

    assert shelf.blobs() == []


def test_a_result_that_was_ordered_again_lately_stays(shelf):
    shelf.finish("first")
    shelf.let_pass(2 * DAY_S)
    second = shelf.order("second")

    shelf.clean(RESULTS_TOO)

    assert shelf.ledger.job_ids() == ["second"]
    assert shelf.store.exists(second.images[0].key)


def test_a_store_above_its_limit_loses_the_result_that_was_asked_for_longest_ago(shelf):
    shelf.finish("old", seed=1)
    shelf.let_pass(10)
    shelf.finish("new", seed=2)
    shelf.clean(AT_ONCE)
    size_bytes = sum(len(shelf.store.get(key)) for key in shelf.blobs())

    shelf.clean(replace(KEEP, max_store_bytes=size_bytes - 1))

    assert shelf.ledger.job_ids() == ["new"]
    assert is_whole(shelf.store, shelf.plan("new"))


def test_cleaning_again_finds_nothing(shelf):
    shelf.finish("job")
    shelf.order("cancelled", seed=1)
    shelf.cancel("cancelled")

    first = shelf.clean()

    assert first.removed == 3
    assert first.left == 0
    assert shelf.choose() == []


def test_what_was_removed_is_counted(shelf):
    def counted():
        return REGISTRY.get_sample_value("tilechord_cleaned_bytes_total")

    shelf.finish("job")
    before = counted()

    done = shelf.clean()

    assert counted() - before == done.size_bytes > 0


def test_two_may_clean_at_once(shelf):
    shelf.finish("job")
    shelf.order("cancelled", seed=1)
    shelf.work("cancelled", until=Stage.CORE)
    shelf.cancel("cancelled")
    first = shelf.blobs()[0]

    def other_cleans(key):
        shelf.store.before_delete = lambda key: None
        shelf.clean()

    shelf.store.before_delete = other_cleans
    shelf.clean()

    assert first not in shelf.blobs("plans/")
    assert {key.split("/")[0] for key in shelf.blobs()} == {"jobs", "plans"}
    assert is_whole(shelf.store, shelf.plan("job"))
    assert shelf.choose() == []


class DeathError(BaseException):
    """Stands for a cleaner that is killed."""


def scene_of_three(catalogue) -> Shelf:
    shelf = Shelf(catalogue)
    shelf.finish("old")
    shelf.let_pass(2 * DAY_S)
    shelf.finish("done", seed=1)
    shelf.order("cancelled", seed=2)
    shelf.work("cancelled", until=Stage.CORE)
    shelf.cancel("cancelled")
    return shelf


def test_a_cleaner_may_die_at_any_blob_and_the_next_one_finishes(catalogue):
    clean = scene_of_three(catalogue)
    total = deletes_of(clean)

    for last in range(1, total, 5):
        shelf = scene_of_three(catalogue)
        left = [last]

        def die_in_turn(key, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise DeathError

        shelf.store.before_delete = die_in_turn
        with pytest.raises(DeathError):
            shelf.clean(RESULTS_TOO)
        shelf.store.before_delete = lambda key: None
        shelf.clean(RESULTS_TOO)

        kept = [key for key in shelf.blobs() if not key.startswith("cleaning/")]
        assert kept == clean.blobs()


def test_a_cleaner_that_is_told_to_stop_does_and_leaves_no_mark(shelf):
    shelf.order("job")
    shelf.cancel("job")
    shelf.let_pass(1)
    cleaner = Cleaner(shelf.runtime, is_stopping=lambda: True)
    chosen = cleaner.choose(AT_ONCE)

    done = cleaner.remove(chosen)

    assert (len(chosen), done.removed) == (1, 0)
    assert shelf.blobs("cleaning/") == []


def test_a_store_that_does_not_answer_ends_a_cleaning_and_harms_nothing(shelf):
    manifest = shelf.finish("job")

    def refuse(key):
        raise StorageUnavailableError("store m does not answer")

    shelf.store.before_delete = refuse
    with pytest.raises(StorageUnavailableError):
        shelf.clean()

    assert shelf.ledger.result("job") == manifest


def test_what_an_open_job_used_goes_with_the_next_cleaning_after_its_end(shelf):
    cleaner = Cleaner(shelf.runtime)
    shelf.order("other", seed=1)
    shelf.cancel("other")
    shelf.order("job")
    shelf.work("job", until=Stage.CORE)
    cleaner.remove(cleaner.choose(AT_ONCE))
    shelf.cancel("job")

    shelf.let_pass(1)
    cleaner.remove(cleaner.choose(AT_ONCE))

    assert shelf.blobs("plans/") == []


def test_the_plan_itself_goes_last(shelf):
    ended(shelf, "cancelled")
    own, gone = plan_prefix(shelf.plan("old")), []
    shelf.store.before_delete = gone.append

    shelf.clean()

    of_plan = [key for key in gone if key.startswith((own, "runs/"))]
    assert of_plan[-1] == own + "plan.json"


def test_what_says_that_a_stage_is_done_goes_before_what_the_stage_has_made(shelf):
    shelf.finish("job")
    gone = []
    shelf.store.before_delete = gone.append
    plan = shelf.plan("job")

    shelf.clean()

    blobs = [key for key in gone if key.startswith(f"plans/{plan.series}/")]
    merges = [Work(Stage.MERGE, 0, phase) for phase in range(len(plan.phases))]
    proofs = {work.key(plan) for work in (Work(Stage.BASE, 0), Work(Stage.PREPARE, 0), *merges)}
    assert set(blobs[: len(proofs)]) == proofs


def test_a_part_cannot_be_painted_anew_once_its_latents_are_gone(shelf):
    shelf.finish("job")
    plan = shelf.plan("job")
    shelf.clean()
    box = {"top": 0, "left": 0, "bottom": 64, "right": 64}

    with pytest.raises(Exception, match="whose latents are still in the store"):
        shelf.order("part", rerender={"plan_hash": plan.hash, "box": box})


def test_the_same_order_is_answered_after_its_intermediates_are_gone(shelf):
    first = shelf.finish("first")
    shelf.clean()

    second = shelf.order("second")

    assert second.cached
    assert second.images == first.images


def test_a_cleaning_leaves_no_mark_and_takes_those_of_the_dead_after_a_day(shelf):
    shelf.order("cancelled")
    shelf.cancel("cancelled")
    shelf.store.put(mark_key("abc", 1000.0, "dead"), b"")
    shelf.let_pass(2 * DAY_S)

    shelf.clean()

    assert shelf.blobs("cleaning/") == []


def test_a_job_that_lost_its_plan_is_planned_again_as_it_was(shelf):
    shelf.order("job", cache=False)
    planned = shelf.plan("job")
    shelf.cancel("job")
    shelf.clean()
    with pytest.raises(NotFoundError):
        shelf.plan("job")

    shelf.ledger.reopen("job")
    shelf.order("job", cache=False)

    assert shelf.plan("job") == planned
    assert shelf.store.exists(plan_key(planned.hash))


def test_the_rules_are_what_an_operator_has_set():
    chosen = Settings(intermediates_ttl_s=60, results_ttl_s=3600, store_limit_gb=1.5)

    assert rules_of(chosen) == RetentionRules(60, 3600, 1_500_000_000)
    assert rules_of(Settings()) == RetentionRules(7 * DAY_S, 0, 0)


def test_thumbnail_and_pyramid_stay_as_long_as_their_picture(shelf):
    manifest = shelf.finish("job", pyramid=True)
    (image,) = manifest.images
    before = shelf.blobs(f"plans/{manifest.plan_hash}/")

    shelf.clean()

    assert shelf.blobs(f"plans/{manifest.plan_hash}/") == before
    assert {image.thumbnail.key, image.pyramid.key} < set(before)
    assert sum("picture_files/" in key for key in before) == image.pyramid.tiles > 1


def test_thumbnail_and_pyramid_go_with_their_picture_and_their_bytes_are_told(shelf):
    manifest = shelf.finish("job", pyramid=True)
    shelf.clean()
    shelf.let_pass(2 * DAY_S)
    size_bytes = sum(len(shelf.store.get(key)) for key in shelf.blobs("plans/"))

    chosen = {removal.name: removal for removal in shelf.choose(RESULTS_TOO)}
    shelf.clean(RESULTS_TOO)

    assert chosen[manifest.plan_hash].size_bytes == size_bytes
    assert shelf.blobs() == []


def test_pictures_go_before_what_belongs_to_them(shelf):
    manifest = shelf.finish("job", pyramid=True, count=2)
    shelf.let_pass(2 * DAY_S)
    gone = []
    shelf.store.before_delete = gone.append

    shelf.clean(RESULTS_TOO)

    of_plan = [key for key in gone if key.startswith(f"plans/{manifest.plan_hash}/")]
    assert of_plan[:2] == [image.key for image in manifest.images]
