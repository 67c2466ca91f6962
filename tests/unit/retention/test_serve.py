"""Cleaning by itself, in one of many control workers."""

import importlib
import logging

import pytest

from app.retention.serve import CleaningThread
from tests.support.waiting import wait_for
from tests.unit.retention.shelf import Shelf


@pytest.fixture
def shelf(catalogue):
    made = Shelf(catalogue, intermediates_ttl_s=0, clean_period_s=3600)
    made.finish("job")
    made.let_pass(1)
    return made


def start(shelf, owner="control@a") -> CleaningThread:
    thread = CleaningThread(shelf.runtime, owner, first_s=0.01)
    thread.start()
    return thread


def test_a_control_worker_cleans_by_itself(shelf):
    thread = start(shelf)
    try:
        wait_for(lambda: shelf.blobs("runs/") == [])
        wait_for(lambda: shelf.made_from(shelf.plan("job")) == [])
    finally:
        thread.stop()

    assert not thread.is_alive()
    assert shelf.store.exists(shelf.ledger.result("job").images[0].key)


def test_of_many_workers_one_cleans_in_a_period(shelf, caplog):
    caplog.set_level(logging.INFO, logger="app.retention.serve")
    threads = [CleaningThread(shelf.runtime, f"control@{name}") for name in "abc"]

    for thread in threads:
        thread.clean()

    assert [record.message for record in caplog.records] == ["clean.done"]


def test_another_worker_takes_over_when_the_period_of_the_first_is_over(catalogue):
    shelf = Shelf(catalogue, intermediates_ttl_s=0, clean_period_s=0.05)
    first, second = (CleaningThread(shelf.runtime, name) for name in "ab")
    first.clean()
    shelf.finish("job")
    shelf.let_pass(1)

    def has_cleaned() -> bool:
        second.clean()
        return shelf.blobs("runs/") == []

    wait_for(has_cleaned)


def test_a_failure_waits_for_the_next_period(catalogue, caplog):
    caplog.set_level(logging.INFO, logger="app.retention.serve")
    shelf = Shelf(catalogue, intermediates_ttl_s=0, clean_period_s=0.02)
    shelf.finish("job")
    shelf.let_pass(1)
    failures = iter([ValueError("a bug")])

    def fail_once(key):
        if (error := next(failures, None)) is not None:
            raise error

    shelf.store.before_delete = fail_once
    thread = start(shelf)
    try:
        wait_for(lambda: shelf.blobs("runs/") == [])
    finally:
        thread.stop()

    assert "clean.crashed" in [record.message for record in caplog.records]


def test_a_worker_that_stops_does_not_wait_for_the_period(shelf):
    thread = CleaningThread(shelf.runtime, "control@a")
    thread.start()

    thread.stop()

    assert not thread.is_alive()


def test_every_worker_imports_it():
    assert "app.retention.serve" in importlib.import_module("celeryconfig").imports
