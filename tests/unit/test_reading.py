"""Blobs are read before they are asked for, few at once, and come in their order."""

import threading

import pytest

from app.domain.errors import NotFoundError
from app.reading import read_ahead
from tests.support.waiting import wait_for

AT_ONCE = 3


class Shelf:
    """Gives items when it is told to; notes what is read."""

    def __init__(self):
        self.begun, self.done = [], []
        self._gates = {}

    def read(self, item):
        gate = self._gates.setdefault(item, threading.Event())
        self.begun.append(item)
        assert gate.wait(30)
        self.done.append(item)
        return -item

    def give(self, *items):
        for item in items:
            self._gates.setdefault(item, threading.Event()).set()


def test_results_come_in_the_order_of_their_items_whichever_is_read_first():
    shelf, found = Shelf(), []
    thread = threading.Thread(
        target=lambda: found.extend(read_ahead(range(AT_ONCE), shelf.read, at_once=AT_ONCE))
    )
    thread.start()
    for item in (2, 1, 0):
        wait_for(lambda item=item: item in shelf.begun)
        shelf.give(item)
        wait_for(lambda item=item: item in shelf.done)
    thread.join(30)

    assert shelf.done == [2, 1, 0]
    assert found == [0, -1, -2]


def test_the_next_are_read_while_one_is_in_use():
    shelf = Shelf()
    shelf.give(0)
    results = read_ahead(range(10), shelf.read, at_once=AT_ONCE)

    assert next(results) == 0
    wait_for(lambda: sorted(shelf.begun) == [0, 1, 2])
    shelf.give(*range(1, 10))
    results.close()


def test_no_more_are_held_than_are_read_at_once():
    shelf = Shelf()
    shelf.give(*range(10))
    results = read_ahead(range(10), shelf.read, at_once=AT_ONCE)
    for used in range(1, 11):
        next(results)
        # The one in use, and those behind it.
        assert len(shelf.begun) <= used - 1 + AT_ONCE


@pytest.mark.parametrize("at_once", [1, 3, 20])
@pytest.mark.parametrize("count", [0, 1, 10])
def test_every_item_is_read_once(count, at_once):
    shelf = Shelf()
    shelf.give(*range(count))

    assert list(read_ahead(range(count), shelf.read, at_once=at_once)) == [
        -item for item in range(count)
    ]
    assert sorted(shelf.begun) == list(range(count))


def test_a_refused_item_is_raised_at_its_place_and_what_is_behind_it_is_left():
    read = []

    def refuse(item):
        read.append(item)
        if item == 1:
            raise NotFoundError("blob 1 does not exist")
        return item

    results = read_ahead(range(100), refuse, at_once=AT_ONCE)
    assert next(results) == 0
    with pytest.raises(NotFoundError, match="blob 1"):
        next(results)

    assert len(read) <= 1 + AT_ONCE + 1
    assert not [one for one in threading.enumerate() if one.name.startswith("tilechord-reading")]


def test_who_stops_early_leaves_no_thread_behind():
    shelf = Shelf()
    shelf.give(*range(100))
    results = read_ahead(range(100), shelf.read, at_once=AT_ONCE)
    next(results)
    results.close()

    assert len(shelf.begun) <= AT_ONCE
    assert not [one for one in threading.enumerate() if one.name.startswith("tilechord-reading")]
