import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from app.attempts import Attempts, Quarantine
from app.domain.errors import (
    CorruptBlobError,
    ModelError,
    NotFoundError,
    StorageFullError,
    StorageUnavailableError,
)
from app.domain.work import Stage, Work, plan_key
from app.jobs import MOST_MENDED, JobLedger
from app.live.memory import MemoryBoard
from app.manifests import read_runs
from app.own_node import OwnNode
from app.parts import parts_of
from app.patience import Patience, WorkerStoppingError
from app.schemas import WorkMessage, read_request
from app.storage.memory import MemoryStore
from tests.unit.domain.cards import plan
from workers import errand
from workers.errand import BusyError, Delivery
from workers.execution import Executor

RENDER = plan(height=1024, width=1024)
WORK = Work(Stage.TILE, 0, index=3)
MERGED = Work(Stage.MERGE, 0)
MESSAGE = WorkMessage(job_id="job", plan_hash=RENDER.hash, stage=Stage.TILE, image=0, index=3)
BATCH = MESSAGE.model_copy(update={"more": [4, 5, 6]})
IN_TURN = BATCH.model_copy(update={"together": 1})
FIRST = Delivery("gpu1@host")
PASSED_ON = Delivery("gpu1@host", can_pass_on=True)
AGAIN = Delivery("gpu1@host", is_again=True)
BOUNDED = Delivery("gpu1@host", bigger_pool="large")


class FakeRenderer:
    """Counts what it is asked for, and fails when told to."""

    def __init__(self):
        self.rendered = []
        self.asked = []
        self.errors = []
        self.fits = 99
        self.during = lambda: None
        self.loading = lambda: None

    def load(self, plan, stage):
        self.loading()

    def render(self, plan, work, check):
        return self.render_tiles(plan, [work], check)[0]

    def render_tiles(self, plan, works, check):
        self.asked.append([work.index for work in works])
        self.during()
        check()
        if self.errors:
            raise self.errors.pop(0)
        if len(works) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.rendered += works
        return [f"pixels {work.index}".encode() for work in works]


class UnreliableStore(MemoryStore):
    """Does not take the next so many blobs whose keys have a given part."""

    def __init__(self):
        super().__init__()
        self.refused = {}
        self.before = lambda key: True

    def put(self, key, data):
        self.before(key)
        for part, left in self.refused.items():
            if part in key and left:
                self.refused[part] -= 1
                raise StorageUnavailableError("store m does not answer")
        return super().put(key, data)


class ExitedError(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def store():
    return UnreliableStore()


@pytest.fixture
def ledger(store):
    ledger = JobLedger(store)
    ledger.accept("job", read_request({"prompt": "a map"}), RENDER)
    return ledger


@pytest.fixture
def renderer():
    return FakeRenderer()


@pytest.fixture
def board():
    return MemoryBoard()


@pytest.fixture
def slept():
    return []


@pytest.fixture
def told():
    """Jobs of which all workers were told that they are not wanted."""
    return []


@pytest.fixture
def executor(store, ledger, renderer, board, slept, told):
    def exit_process():
        raise ExitedError

    return Executor(
        store,
        ledger,
        renderer,
        "cpu",
        attempts=Attempts(store, board, 0.001, max_deaths=3, me="me"),
        patience=Patience(3, 1.0, 8.0, is_stopping=lambda: False, sleep=slept.append),
        node=OwnNode(),
        tell_all=told.append,
        exit_process=exit_process,
    )


def died_of(store, *names, unit="image-0000/phase-0/tile-00003"):
    for name in names:
        store.put(f"attempts/{RENDER.hash}/{unit}/{name}", b"")


def test_a_unit_is_rendered_stored_and_recorded(executor, store):
    outcome = executor.execute(MESSAGE, FIRST)

    assert outcome == {"key": WORK.key(RENDER), "status": "rendered"}
    assert store.get(WORK.key(RENDER)) == b"pixels 3"
    assert [(run.unit, run.worker) for run in read_runs(store, RENDER)] == [
        ("image-0000/phase-0/tile-00003", "gpu1-host")
    ]


def asking(store, asked):
    """A delivery whose next message is *asked* for, noting what is stored then."""

    def ask():
        asked.append(store.exists(WORK.key(RENDER)))
        return Future()

    return Delivery("gpu1@host", ask_next=ask)


def test_the_next_message_is_asked_for_while_the_last_units_are_stored(executor, store):
    asked = []

    executor.execute(MESSAGE, asking(store, asked))

    assert asked == [False]


def test_the_next_message_is_asked_for_when_a_units_end_is_near(executor, renderer, store):
    executor.execute(MESSAGE.model_copy(update={"index": 2}), FIRST)  # its time is known now
    asked, before = [], []
    renderer.during = lambda: before.append(len(asked))
    render = renderer.render_tiles

    def render_and_look(plan, works, check):
        blobs = render(plan, works, check)
        before.append(len(asked))
        return blobs

    renderer.render_tiles = render_and_look
    executor.execute(MESSAGE, asking(store, asked))

    assert before == [0, 1]  # at its first check, and not a second time
    assert asked == [False]


def test_the_next_message_is_not_asked_for_while_units_of_one_wait(executor, renderer, store):
    asked, seen = [], []
    renderer.during = lambda: seen.append(len(asked))

    executor.execute(IN_TURN, asking(store, asked))

    assert seen == [0, 0, 0, 0]
    assert len(asked) == 1


def test_what_was_expected_of_an_attempt_says_nothing_of_the_next(executor, renderer, store):
    renderer.during = lambda: time.sleep(0.4)
    executor.execute(BATCH.model_copy(update={"index": 10, "more": [11, 12, 13]}), FIRST)
    asked, seen, pauses = [], [], [0.0, 0.4, 0.0]  # in the second, four would be done
    renderer.fits = 3

    def check_after_a_while(plan, works, check):
        time.sleep(pauses.pop(0))
        check()
        seen.append(len(asked))
        return render(plan, works, check)

    renderer.during = lambda: None
    render, renderer.render_tiles = renderer.render_tiles, check_after_a_while
    executor.execute(BATCH, asking(store, asked))

    assert renderer.asked[-3:] == [[3, 4, 5, 6], [3, 4], [5, 6]]
    assert seen == [0, 0, 0]
    assert len(asked) == 1


def test_who_renders_nothing_asks_for_nothing(executor, renderer, store):
    asked = []
    renderer.errors = [ModelError("model m: unet is missing")]
    executor.execute(MESSAGE.model_copy(update={"index": 5}), asking(store, asked))
    executor.execute(MESSAGE, FIRST)
    executor.execute(MESSAGE, asking(store, asked))

    assert asked == []


def at_once(executor, *messages, delivery=FIRST):
    """Outcomes of messages that this worker has at the same time."""
    with ThreadPoolExecutor(len(messages)) as threads:
        return [
            outcome["status"]
            for outcome in threads.map(lambda one: executor.execute(one, delivery), messages)
        ]


def test_two_messages_never_render_at_once_and_always_in_the_same_thread(executor, renderer):
    under_way, seen = [], []

    def during():
        under_way.append(threading.get_ident())
        seen.append([*under_way])
        time.sleep(0.05)
        under_way.pop()

    renderer.during = during

    assert at_once(executor, IN_TURN, MESSAGE.model_copy(update={"index": 9})) == ["rendered"] * 2
    assert seen == [seen[0]] * 5
    assert [work.index for work in renderer.rendered] in ([3, 4, 5, 6, 9], [9, 3, 4, 5, 6])


@pytest.mark.parametrize("delivery", [FIRST, AGAIN])
def test_a_message_that_comes_twice_at_once_is_rendered_once(executor, renderer, store, delivery):
    store.before = lambda key: time.sleep(0.05)

    statuses = at_once(executor, IN_TURN, IN_TURN, delivery=delivery)

    assert sorted(statuses) == ["present", "rendered"]
    assert len(renderer.rendered) == 4


@pytest.fixture
def stopping(executor, monkeypatch):
    """Whether the worker was told to stop."""
    told = []
    monkeypatch.setattr(
        executor, "_patience", replace(executor._patience, is_stopping=lambda: bool(told))
    )
    return told


def test_who_waits_for_the_renderer_goes_when_the_worker_stops(executor, renderer, stopping):
    others = MESSAGE.model_copy(update={"index": 9})
    began, went_on = threading.Event(), threading.Event()
    renderer.during = lambda: began.set() or went_on.wait(5)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(executor.execute, MESSAGE, FIRST)
        began.wait(5)
        second = threads.submit(executor.execute, others, FIRST)
        time.sleep(0.1)
        stopping.append("SIGTERM")
        with pytest.raises(WorkerStoppingError):
            second.result(5)
        went_on.set()

        assert first.result(5)["status"] == "rendered"
    assert renderer.rendered == [WORK]


@pytest.fixture
def impatient(monkeypatch):
    """What waits for the renderer goes to others at once."""
    monkeypatch.setattr(errand, "_LONGEST_WAIT_S", 0.0)


@contextmanager
def rendering(executor, renderer):
    """A block in which the worker renders the first message, to the end of which it waits."""
    began, went_on = threading.Event(), threading.Event()
    renderer.during = lambda: began.set() or went_on.wait(5)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(executor.execute, MESSAGE, FIRST)
        began.wait(5)
        threading.Timer(0.5, went_on.set).start()
        yield
        went_on.set()
        assert first.result(5)["status"] == "rendered"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "message",
    [
        MESSAGE.model_copy(update={"index": 9}),
        MESSAGE.model_copy(update={"attempt": 1}),
    ],
    ids=["other units", "a copy of what it has"],
)
def test_what_waits_too_long_for_a_busy_worker_goes_to_another(executor, renderer, message):
    with rendering(executor, renderer), pytest.raises(BusyError):
        executor.execute(message, PASSED_ON)

    assert renderer.rendered == [WORK]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("message", "delivery", "status"),
    [
        (MESSAGE.model_copy(update={"index": 9}), FIRST, "rendered"),
        (MESSAGE, PASSED_ON, "present"),
    ],
    ids=["one that somebody had", "the same message again"],
)
def test_what_must_not_go_to_another_waits(executor, renderer, message, delivery, status):
    with rendering(executor, renderer):
        assert executor.execute(message, delivery)["status"] == status


def test_a_message_that_somebody_had_is_alone_with_its_worker(executor, store):
    asked = []

    executor.execute(MESSAGE, replace(asking(store, asked), is_again=True))

    assert asked == []


def test_a_model_is_not_loaded_for_a_job_that_has_ended_meanwhile(executor, renderer, ledger):
    loaded = []
    renderer.loading = lambda: loaded.append(1)

    def run(step, look):
        ledger.cancel("job")
        executor._watch._next_s.clear()
        return step()

    executor._turns.run = run

    assert executor.execute(MESSAGE, FIRST)["status"] == "abandoned"
    assert loaded == []


def test_the_loading_of_a_model_is_recorded_and_not_told_as_a_tiles_time(
    executor, renderer, store, monkeypatch
):
    told = []
    monkeypatch.setattr(executor._node, "tell_unit", lambda *_, seconds, **__: told.append(seconds))
    renderer.loading = lambda: time.sleep(0.5)

    executor.execute(MESSAGE, FIRST)

    (run,) = read_runs(store, RENDER)
    assert run.seconds >= 0.5
    assert told == [pytest.approx(run.seconds - 0.5, abs=0.1)]


def test_a_model_that_does_not_fit_moves_its_units_like_one_that_lacks_room_later(
    executor, renderer, ledger
):
    def lack_memory():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    renderer.loading = lack_memory

    assert executor.execute(MESSAGE, BOUNDED)["status"] == "moved"
    assert ledger.failure("job") is None


def test_a_unit_whose_blob_exists_is_not_rendered_again(executor, renderer, store):
    executor.execute(MESSAGE, FIRST)

    again = executor.execute(MESSAGE, AGAIN)

    assert again["status"] == "present"
    assert renderer.rendered == [WORK]
    assert len(read_runs(store, RENDER)) == 1


def test_of_a_batch_only_what_is_missing_is_rendered_and_each_has_its_run(
    executor, renderer, store
):
    executor.execute(MESSAGE, FIRST)

    executor.execute(BATCH, FIRST)

    assert renderer.asked == [[3], [4, 5, 6]]
    assert sorted(run.unit[-1] for run in read_runs(store, RENDER)) == ["3", "4", "5", "6"]


def test_a_message_that_comes_again_renders_none_of_its_tiles_twice(executor, renderer):
    executor.execute(MESSAGE.model_copy(update={"index": 5}), FIRST)

    executor.execute(BATCH, AGAIN)

    assert renderer.asked == [[5], [3], [4], [6]]


def test_of_tiles_nobody_had_only_the_first_is_looked_for(executor, store):
    asked = []
    exists, store.exists = store.exists, lambda key: asked.append(key) or exists(key)

    executor.execute(IN_TURN, FIRST)

    assert len([key for key in asked if "tile" in key]) == 1


def test_a_failure_for_good_is_recorded_and_not_raised(executor, renderer, ledger):
    renderer.errors = [ModelError("model m: unet is missing")]

    outcome = executor.execute(MESSAGE, FIRST)

    assert outcome["status"] == "failed"
    assert ledger.failure("job") == "tile 3 of image 0: model m: unet is missing"


def test_all_workers_are_told_of_a_failure_once_it_is_recorded(executor, renderer, ledger, told):
    renderer.errors = [ModelError("model m: unet is missing")]
    executor._tell_all = lambda job_id: told.append((job_id, ledger.failure(job_id) is not None))

    executor.execute(MESSAGE, FIRST)

    assert told == [("job", True)]


def test_nobody_is_told_of_a_job_that_is_still_wanted(executor, told):
    executor.execute(MESSAGE, FIRST)

    assert told == []


def test_a_unit_whose_predecessors_are_gone_fails_no_job(executor, renderer, ledger):
    renderer.errors = [NotFoundError("blob x does not exist in memory")]

    outcome = executor.execute(MESSAGE, FIRST)

    assert outcome == {"key": WORK.key(RENDER), "status": "gone"}
    assert ledger.failure("job") is None


@pytest.mark.parametrize("error", [NotFoundError, CorruptBlobError])
def test_a_unit_that_can_never_read_what_it_is_made_of_ends_its_job(
    executor, renderer, ledger, error
):
    renderer.errors = [error("blob x is not as it was")] * 9

    ends = [executor.execute(MESSAGE, FIRST)["status"] for _ in range(MOST_MENDED + 1)]

    assert ends == ["gone"] * MOST_MENDED + ["failed"]
    assert ledger.failure("job") == "tile 3 of image 0: blob x is not as it was"


@pytest.mark.parametrize("error", [NotFoundError, CorruptBlobError])
def test_a_stage_that_has_lost_a_part_is_undone_and_the_others_are_not(
    executor, renderer, store, error
):
    units = [Work(Stage.BASE, 0), Work(Stage.PREPARE, 0), Work(Stage.TILE, 0), MERGED]
    for key in [unit.key(RENDER) for unit in units] + list(parts_of(RENDER, MERGED)):
        store.put(key, b"{}")
    renderer.errors = [error("blob x is not as it was")]

    assert executor.execute(MESSAGE, FIRST)["status"] == "gone"
    assert [store.exists(unit.key(RENDER)) for unit in units] == [True, False, True, True]


def test_what_cannot_be_counted_is_not_tried_again(executor, renderer, store, ledger, monkeypatch):
    put = store.put
    monkeypatch.setattr(store, "put", lambda key, data: "mended" in key or put(key, data))
    renderer.errors = [NotFoundError("blob x does not exist in memory")]

    assert executor.execute(MESSAGE, FIRST)["status"] == "failed"


def test_a_unit_of_a_plan_that_was_removed_fails_no_job(executor, ledger, store):
    store.delete(plan_key(RENDER.hash))

    assert executor.execute(MESSAGE, FIRST) == {"key": "", "status": "gone"}
    assert ledger.failure("job") is None


def test_a_transient_error_is_retried_with_growing_waits(executor, renderer, ledger, slept):
    renderer.errors = [StorageUnavailableError("the store is full")] * 3

    assert executor.execute(MESSAGE, FIRST)["status"] == "rendered"
    assert len(renderer.asked) == 4
    assert 0.5 + 1 + 2 <= sum(slept) <= 1 + 2 + 4
    assert ledger.failure("job") is None


def test_a_unit_fails_for_good_when_its_retries_are_used_up(executor, renderer, ledger):
    renderer.errors = [StorageFullError("the store is full")] * 9

    assert executor.execute(MESSAGE, FIRST)["status"] == "failed"
    assert len(renderer.asked) == 4
    assert ledger.failure("job") == "tile 3 of image 0: the store is full"


@pytest.mark.parametrize(
    ("away", "rounds", "status"),
    [("plans", 2, "rendered"), ("runs", 1, "present")],
    ids=["unit", "record"],
)
def test_an_outage_fails_no_job_however_long_it_lasts(
    executor, ledger, store, away, rounds, status
):
    store.refused = {away: 4 * rounds}  # it takes a failure, which is what it must not get

    for _ in range(rounds):
        with pytest.raises(StorageUnavailableError, match=r"^store m does not answer$"):
            executor.execute(MESSAGE, FIRST)

    assert executor.execute(MESSAGE, FIRST)["status"] == status
    assert ledger.failure("job") is None
    assert store.get(WORK.key(RENDER)) == b"pixels 3"


def test_an_outage_before_the_first_look_fails_no_job(executor, ledger, store, monkeypatch):
    away = iter([True] * 5)

    def exists(key):
        if next(away, False):
            raise StorageUnavailableError("store m does not answer")
        return MemoryStore.exists(store, key)

    monkeypatch.setattr(store, "exists", exists)

    with pytest.raises(StorageUnavailableError):
        executor.execute(MESSAGE, FIRST)

    assert executor.execute(MESSAGE, FIRST)["status"] == "rendered"
    assert ledger.failure("job") is None


def test_a_failure_for_good_is_recorded_as_soon_as_the_store_takes_it(executor, renderer, ledger):
    executor._ledger._store.refused = {"failure": 3}
    renderer.errors = [ModelError("model m: unet is missing")]

    assert executor.execute(MESSAGE, FIRST)["status"] == "failed"
    assert ledger.failure("job") == "tile 3 of image 0: model m: unet is missing"


def test_a_rendered_unit_that_cannot_be_stored_yet_is_not_rendered_again(executor, renderer, store):
    store.refused = {"tile-00003": 2}

    assert executor.execute(MESSAGE, FIRST)["status"] == "rendered"
    assert renderer.asked == [[3]]


def test_what_cannot_even_be_recorded_as_failed_is_raised(executor, store):
    store.refused = {"": 999}

    with pytest.raises(StorageUnavailableError):
        executor.execute(MESSAGE, FIRST)


def test_a_stopping_worker_gives_up_waiting_and_fails_nothing(executor, renderer, ledger):
    renderer.errors = [StorageUnavailableError("the store is full")]
    object.__setattr__(executor._patience, "is_stopping", lambda: True)

    with pytest.raises(WorkerStoppingError):
        executor.execute(MESSAGE, FIRST)

    assert ledger.failure("job") is None


def test_a_unit_is_given_up_between_two_steps_when_its_machine_leaves(
    executor, renderer, ledger, store
):
    renderer.during = lambda: executor._node.leave("spot notice")

    with pytest.raises(WorkerStoppingError, match=r"^this machine is leaving$"):
        executor.execute(MESSAGE, FIRST)

    assert ledger.failure("job") is None
    assert not store.exists(WORK.key(RENDER))


def test_other_tiles_of_a_failed_job_are_not_rendered(executor, renderer, ledger):
    ledger.fail("job", "tile 1 of image 0: broken")

    assert executor.execute(MESSAGE, FIRST)["status"] == "abandoned"
    assert renderer.rendered == []


def test_a_job_cancelled_in_the_middle_of_a_tile_stores_nothing(executor, renderer, ledger, store):
    def cancel():
        ledger.cancel("job")
        executor._watch._next_s.clear()

    renderer.during = cancel

    assert executor.execute(MESSAGE, FIRST)["status"] == "abandoned"
    assert not store.exists(WORK.key(RENDER))


def test_a_job_cancelled_between_two_attempts_is_not_tried_again(executor, renderer, ledger):
    def cancel():
        ledger.cancel("job")
        executor._watch._next_s.clear()
        raise StorageUnavailableError("the store is full")

    renderer.during = cancel

    assert executor.execute(MESSAGE, FIRST)["status"] == "abandoned"
    assert len(renderer.asked) == 1


def test_a_message_tells_how_many_of_its_tiles_are_denoised_together(executor, renderer, store):
    pairs = BATCH.model_copy(update={"together": 2})

    assert executor.execute(pairs, FIRST)["status"] == "rendered"
    assert renderer.asked == [[3, 4], [5, 6]]
    assert [run.unit[-1] for run in read_runs(store, RENDER)] == ["3", "4", "5", "6"]


def test_a_tile_is_stored_while_the_next_is_rendered(executor, renderer, store):
    is_next_begun = threading.Event()
    renderer.during = lambda: is_next_begun.set() if renderer.asked == [[3], [4]] else None
    store.before = lambda key: "tile-00003" not in key or is_next_begun.wait(10)

    executor.execute(IN_TURN.model_copy(update={"more": [4]}), FIRST)

    assert is_next_begun.is_set()
    assert len(read_runs(store, RENDER)) == 2


def test_no_more_than_one_tile_waits_to_be_stored(executor, renderer, store):
    kept = []
    store.before = lambda key: kept.append(key) if "tile" in key and "runs" not in key else True
    renderer.during = lambda: seen.append((len(renderer.asked), len(kept)))
    seen = []

    executor.execute(IN_TURN, FIRST)

    assert all(stored >= asked - 2 for asked, stored in seen)


def test_a_tile_that_cannot_be_stored_ends_the_job_with_its_name(executor, renderer, ledger, store):
    def refuse(key):
        if "tile-00004" in key:
            raise CorruptBlobError("no")
        return True

    store.before = refuse

    assert executor.execute(IN_TURN, FIRST)["status"] == "failed"
    assert ledger.failure("job") == "tile 4 of image 0: no"
    assert [6] not in renderer.asked


def test_an_outage_while_storing_is_raised_when_others_were_rendered_meanwhile(
    executor, ledger, store
):
    store.refused["phase-0/tile-00003"] = 99

    with pytest.raises(StorageUnavailableError):
        executor.execute(IN_TURN, FIRST)
    assert ledger.failure("job") is None


def test_what_is_being_stored_is_stored_although_the_next_tile_fails(
    executor, renderer, ledger, store
):
    def fail_second():
        if renderer.asked[-1] == [4]:
            raise ModelError("model x has no weights")

    renderer.during = fail_second

    assert executor.execute(IN_TURN, FIRST)["status"] == "failed"
    assert ledger.failure("job") == "tile 4 of image 0: model x has no weights"
    assert [run.unit[-1] for run in read_runs(store, RENDER)] == ["3"]


def test_a_batch_that_does_not_fit_shrinks_until_it_does(executor, renderer, ledger, slept):
    renderer.fits = 1

    assert executor.execute(BATCH, FIRST)["status"] == "rendered"
    assert renderer.asked == [[3, 4, 5, 6], [3, 4], [3], [4], [5, 6], [5], [6]]
    assert [work.index for work in renderer.rendered] == [3, 4, 5, 6]
    assert slept == []
    assert ledger.failure("job") is None


def test_a_batch_shrinks_before_it_is_moved(executor, renderer):
    renderer.fits = 1

    assert executor.execute(BATCH, BOUNDED)["status"] == "rendered"


def test_a_unit_that_fits_nowhere_here_is_moved_to_a_bigger_pool(executor, renderer, ledger):
    renderer.fits = 0

    assert executor.execute(MESSAGE, BOUNDED)["status"] == "moved"
    assert renderer.asked == [[3]]
    assert ledger.failure("job") is None


def test_the_others_of_a_message_are_rendered_before_what_fits_nowhere_is_moved(
    executor, renderer, store
):
    def lack_memory():
        if renderer.asked[-1] == [4]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    renderer.during = lack_memory

    assert executor.execute(IN_TURN, BOUNDED)["status"] == "moved"
    assert [run.unit[-1] for run in read_runs(store, RENDER)] == ["3", "5", "6"]


def test_a_unit_that_lacked_memory_once_is_rendered_without_a_bigger_pool(executor, renderer):
    renderer.errors = [torch.OutOfMemoryError("CUDA out of memory")] * 2

    assert executor.execute(MESSAGE, FIRST)["status"] == "rendered"


def test_without_a_bigger_pool_the_failure_names_the_tile_and_the_memory(
    executor, renderer, ledger
):
    renderer.fits = 0

    assert executor.execute(BATCH, FIRST)["status"] == "failed"
    reason = ledger.failure("job")
    assert reason.startswith("tile 3 of image 0: cpu with ")
    assert reason.endswith(" GB has too little memory")


def test_a_lost_device_ends_the_process_and_fails_no_unit(executor, renderer, ledger):
    renderer.errors = [RuntimeError("CUDA error: an illegal memory access was encountered\n")]

    with pytest.raises(ExitedError):
        executor.execute(MESSAGE, FIRST)

    assert ledger.failure("job") is None


def test_nothing_is_written_about_a_first_delivery(executor, renderer, store):
    seen = []
    renderer.during = lambda: seen.extend(store.keys("attempts/"))

    executor.execute(MESSAGE, FIRST)

    assert seen == []


def test_who_takes_up_a_unit_again_leaves_its_record_while_it_renders(executor, renderer, store):
    seen = []
    renderer.during = lambda: seen.extend(store.keys("attempts/"))

    executor.execute(MESSAGE, AGAIN)

    assert seen == [f"attempts/{RENDER.hash}/image-0000/phase-0/tile-00003/me"]
    assert list(store.keys("attempts/")) == []


def test_a_batch_that_comes_again_is_rendered_unit_by_unit(executor, renderer):
    executor.execute(BATCH, AGAIN)

    assert renderer.asked == [[3], [4], [5], [6]]


def test_a_unit_that_killed_too_many_workers_is_quarantined(
    executor, renderer, store, ledger, board
):
    died_of(store, "a", "b", "c")
    renderer_saw_me(executor, board)

    outcome = executor.execute(MESSAGE, AGAIN)

    assert outcome["status"] == "quarantined"
    assert renderer.asked == []
    assert ledger.failure("job") == "tile 3 of image 0: quarantined, 3 workers died of it"
    assert [unit.label for unit in Quarantine(store).all()] == ["tile 3 of image 0"]


def test_the_other_units_of_a_deadly_batch_are_not_taken_for_it(executor, store, ledger, board):
    died_of(store, "a", "b", "c", unit="image-0000/phase-0/tile-00005")
    renderer_saw_me(executor, board)

    assert executor.execute(BATCH, AGAIN)["status"] == "quarantined"
    assert ledger.failure("job") == "tile 5 of image 0: quarantined, 3 workers died of it"
    assert store.exists(WORK.key(RENDER))


def test_a_unit_whose_workers_cannot_be_called_dead_is_rendered(executor, store):
    died_of(store, "a", "b", "c")  # and the board shows nobody

    assert executor.execute(MESSAGE, AGAIN)["status"] == "rendered"


def renderer_saw_me(executor, board):
    """Whenever the executor waits, this worker shows itself."""

    def sleep(seconds):
        board.show("nodes", "me@host", {"incarnation": "me"}, ttl_s=600)

    object.__setattr__(executor._patience, "sleep", sleep)
