import pytest

from app.attempts import Attempts, DeadUnit, Quarantine, Step, attempts_prefix, incarnation
from app.domain.errors import BrokerUnavailableError, StorageUnavailableError
from app.domain.work import Stage, Work, unit_name
from app.live.memory import MemoryBoard
from app.storage.memory import MemoryStore
from tests.unit.domain.cards import plan

RENDER = plan(height=1024, width=1024)
WORK = Work(Stage.TILE, 0, index=3)
OTHER = Work(Stage.TILE, 0, index=4)
STEP = Step.of(RENDER, WORK)
PREFIX = attempts_prefix(RENDER.hash, unit_name(RENDER, WORK))
HEARTBEAT_S = 2.0


class World:
    """A board on a clock that only moves when somebody waits; the living show themselves."""

    def __init__(self):
        self.now_s = 1000.0
        self.board = MemoryBoard(clock=lambda: self.now_s)
        self.living = {"me"}
        self.waited_s = 0.0

    def show(self, name):
        self.board.show("nodes", f"{name}@host", {"incarnation": name}, ttl_s=600)

    def wait(self, seconds):
        self.now_s += seconds
        self.waited_s += seconds
        for name in self.living:
            self.show(name)


@pytest.fixture
def world():
    return World()


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def attempts(store, world):
    return Attempts(
        store, world.board, HEARTBEAT_S, max_deaths=3, me="me", clock=lambda: world.now_s
    )


def taken_up_by(store, *names, work=WORK):
    for name in names:
        store.put(f"{attempts_prefix(RENDER.hash, unit_name(RENDER, work))}{name}", b"")


def test_a_worker_leaves_its_record_while_it_works_and_takes_it_away(attempts, store):
    with attempts.recorded([STEP, Step.of(RENDER, OTHER)]):
        during = list(store.keys("attempts/"))

    assert during == [
        f"attempts/{RENDER.hash}/image-0000/phase-0/tile-00003/me",
        f"attempts/{RENDER.hash}/image-0000/phase-0/tile-00004/me",
    ]
    assert list(store.keys("attempts/")) == []


def test_a_worker_that_fails_in_words_takes_its_record_away(attempts, store):
    with pytest.raises(StorageUnavailableError), attempts.recorded([STEP]):
        raise StorageUnavailableError("store m is full")

    assert list(store.keys("attempts/")) == []


class HiccupStore(MemoryStore):
    """Does what it is told and loses its answer, or does not do it at all."""

    def __init__(self):
        super().__init__()
        self.loses_answers = self.is_away = False

    def put(self, key, data):
        stored = super().put(key, data)
        if self.loses_answers:
            raise StorageUnavailableError("store m does not answer")
        return stored

    def delete(self, key):
        if self.is_away:
            raise StorageUnavailableError("store m does not answer")
        super().delete(key)


def test_a_record_whose_confirmation_is_lost_is_taken_away_too(attempts):
    object.__setattr__(attempts, "store", store := HiccupStore())
    store.loses_answers = True

    with pytest.raises(StorageUnavailableError), attempts.recorded([STEP]):
        pass

    assert list(store.keys("attempts/")) == []


def test_a_record_that_an_outage_kept_is_taken_away_later(attempts):
    object.__setattr__(attempts, "store", store := HiccupStore())

    store.is_away = True
    with attempts.recorded([STEP]):
        pass
    attempts.tidy()
    assert list(store.keys("attempts/")) == [f"{PREFIX}me"]
    store.is_away = False
    attempts.tidy()

    assert list(store.keys("attempts/")) == []


def test_a_record_that_was_kept_and_is_wanted_again_is_not_tidied_away(attempts):
    object.__setattr__(attempts, "store", store := HiccupStore())
    store.is_away = True
    with attempts.recorded([STEP]):
        pass
    store.is_away = False

    with attempts.recorded([STEP]):
        attempts.tidy()
        assert list(store.keys("attempts/")) == [f"{PREFIX}me"]

    assert list(store.keys("attempts/")) == []


def test_a_step_that_killed_too_many_is_condemned_and_another_is_not(attempts, store, world):
    taken_up_by(store, "a", "b", "c")

    reason = attempts.condemn("job", STEP, world.wait, lambda: 20.0)

    assert reason == "quarantined, 3 workers died of it"
    assert [(dead.label, dead.at_s) for dead in Quarantine(store).all()] == [
        ("tile 3 of image 0", 20.0)
    ]
    other = Step.of(RENDER, OTHER)
    assert attempts.condemn("job", other, world.wait, lambda: 20.0) is None


def test_those_who_do_not_show_themselves_for_three_heartbeats_are_dead(attempts, store, world):
    taken_up_by(store, "a", "b", "c")

    assert attempts.deaths(STEP, world.wait) == 3
    assert 3 * HEARTBEAT_S < world.waited_s <= 4 * HEARTBEAT_S


def test_a_record_on_the_board_that_a_dead_worker_left_is_no_sign_of_life(attempts, store, world):
    taken_up_by(store, "a", "b", "c")
    world.show("a")

    assert attempts.deaths(STEP, world.wait) == 3


def test_a_living_worker_that_lost_its_connection_is_not_counted(attempts, store, world):
    taken_up_by(store, "a", "b", "c")
    world.living.add("b")

    assert attempts.deaths(STEP, world.wait) < 3
    assert world.waited_s <= HEARTBEAT_S  # nobody waits longer than it takes to know


def test_too_few_records_cost_no_wait(attempts, store, world):
    taken_up_by(store, "a", "b")
    taken_up_by(store, "x", "y", "z", work=OTHER)

    assert attempts.deaths(STEP, world.wait) == 0
    assert world.waited_s == 0


def test_a_workers_own_record_is_not_held_against_the_unit(attempts, store, world):
    taken_up_by(store, "a", "b", "me")

    assert attempts.deaths(STEP, world.wait) == 0


def test_nobody_is_dead_while_the_board_does_not_answer(attempts, store, world, monkeypatch):
    taken_up_by(store, "a", "b", "c")

    def shown(topic):
        raise BrokerUnavailableError("live board m does not answer")

    monkeypatch.setattr(world.board, "shown", shown)

    assert attempts.deaths(STEP, world.wait) == 0


def test_nobody_is_dead_on_a_board_that_does_not_show_the_one_who_looks(attempts, store, world):
    taken_up_by(store, "a", "b", "c")
    world.living.clear()

    assert attempts.deaths(STEP, world.wait) == 0


def test_a_board_that_was_flushed_buries_nobody(attempts, store, world):
    taken_up_by(store, "a", "b", "c")
    world.living |= {"a", "b", "c"}  # they show themselves again with their next heartbeat

    assert attempts.deaths(STEP, world.wait) == 0


def test_a_process_keeps_its_name():
    assert incarnation() == incarnation()
    assert len(incarnation()) == 16


def test_dead_units_are_listed_by_age_and_the_first_record_counts(attempts, store):
    attempts.quarantine("job-b", STEP, "3 workers died of it", 20.0)
    attempts.quarantine("job-a", Step.of(RENDER, OTHER), "3 workers died of it", 10.0)
    attempts.quarantine("job-b", STEP, "4 workers died of it", 30.0)

    first, second = Quarantine(store).all()

    assert first.label == "tile 4 of image 0"
    assert second == DeadUnit(
        "job-b",
        RENDER.hash,
        "image-0000/phase-0/tile-00003",
        "tile 3 of image 0",
        "3 workers died of it",
        20.0,
    )


def test_a_unit_that_is_taken_off_the_list_can_be_quarantined_anew(attempts, store):
    attempts.quarantine("job", STEP, "3 workers died of it", 20.0)
    quarantine = Quarantine(store)

    quarantine.remove(quarantine.all()[0])

    assert quarantine.all() == []


def test_who_died_of_a_unit_can_be_forgotten(store):
    taken_up_by(store, "a", "b")
    taken_up_by(store, "x", work=OTHER)

    Quarantine(store).forget(PREFIX)

    assert list(store.keys("attempts/")) == [
        f"attempts/{RENDER.hash}/image-0000/phase-0/tile-00004/x"
    ]
