"""Marks count while their cleaner lives, and for a while after it."""

import pytest

from app.cache import MARK_S, is_being_removed
from app.retention.marks import Marks
from app.storage.memory import MemoryStore


@pytest.fixture
def now(monkeypatch):
    """The time of day, moved by hand."""
    moment = [1_000_000.0]
    monkeypatch.setattr("app.cache.time.time", lambda: moment[0])
    return moment


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def marks(store, now):
    return Marks(store, lambda: now[0])


def test_a_marked_folder_is_being_removed_until_the_mark_is_dropped(marks, store):
    marks.put(["a", "b"])
    marks.drop("a")

    assert (is_being_removed(store, "a"), is_being_removed(store, "b")) == (False, True)

    marks.drop_all()
    assert list(store.keys("cleaning/")) == []


def test_a_mark_counts_for_a_while_after_its_cleaner_died(marks, store, now):
    marks.put(["a"])

    now[0] += MARK_S - 1
    assert is_being_removed(store, "a")
    now[0] += 2
    assert not is_being_removed(store, "a")


def test_a_mark_is_renewed_while_its_cleaner_works(marks, store, now):
    marks.put(["a"])
    for _ in range(10):
        now[0] += MARK_S / 2
        marks.renew()

    assert is_being_removed(store, "a")
    assert len(list(store.keys("cleaning/"))) == 1


def test_a_mark_is_left_to_the_other_of_two_cleaners(store, now):
    one, other = Marks(store, lambda: now[0]), Marks(store, lambda: now[0])
    one.put(["a"])
    other.put(["a"])

    one.drop_all()

    assert is_being_removed(store, "a")


def test_dropping_what_was_never_marked_does_nothing(marks):
    marks.drop("a")
