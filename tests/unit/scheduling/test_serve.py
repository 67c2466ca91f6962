"""The dispatcher's thread, whatever the store does when it starts."""

import pytest

from app.domain.errors import StorageUnavailableError
from app.scheduling import serve
from app.scheduling.serve import DispatcherThread
from tests.support.waiting import wait_for


@pytest.fixture
def refusals(scene, monkeypatch):
    """Why the store refuses the next listings, one each."""
    waiting, keys = [], scene.store.keys

    def refuse(prefix):
        if waiting:
            raise waiting.pop()
        return keys(prefix)

    monkeypatch.setattr(scene.store, "keys", refuse)
    monkeypatch.setattr(serve, "_ROUND_S", 0.01)
    return waiting


@pytest.fixture
def opened(scene, monkeypatch):
    """Every dispatcher that was made."""
    made, make = [], serve.Dispatcher

    def remember(*arguments, **options):
        made.append(make(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(serve, "Dispatcher", remember)
    return made


def serve_shortly(thread):
    thread.start()
    thread.stop()
    assert not thread.is_alive()


@pytest.mark.parametrize(
    "error", [StorageUnavailableError("the store does not answer"), RuntimeError("a bug")]
)
def test_a_dispatcher_that_starts_while_the_store_is_away_serves_when_it_is_back(
    scene, refusals, error
):
    refusals += [error, error, error]
    thread = DispatcherThread(scene.runtime, "control@a")

    thread.start()
    try:
        assert wait_for(lambda: scene.board.shown("pools"))
    finally:
        thread.stop()

    assert refusals == []
    assert not thread.is_alive()


def test_a_thread_that_never_led_leaves_without_a_dispatcher(scene, opened):
    assert scene.board.lease("dispatcher", "control@b", ttl_s=600)

    serve_shortly(DispatcherThread(scene.runtime, "control@a"))

    assert opened == []


def test_a_thread_that_led_leaves_its_place_to_another(scene, opened):
    thread = DispatcherThread(scene.runtime, "control@a")
    thread.start()
    wait_for(lambda: scene.board.shown("pools"))

    thread.stop()

    assert len(opened) == 1
    assert scene.board.lease("dispatcher", "control@b", ttl_s=600)


def test_what_was_submitted_in_this_process_leaves_the_line_with_it(scene):
    scene.submit("job")
    scene.board.tell({"kind": "job", "job_id": "job"})
    thread = DispatcherThread(scene.runtime, "embedded", is_adopting=False)
    thread.stop()  # before its first round

    serve_shortly(thread)

    assert scene.runtime.entries.all() == []


@pytest.mark.parametrize("leads", [[True, False], [False, True]], ids=["loses", "gains"])
def test_who_leads_no_more_or_anew_forgets_what_it_knew(scene, opened, monkeypatch, leads):
    thread = DispatcherThread(scene.runtime, "control@a")
    thread._opened()
    thread._is_leading = not leads[0]
    forgotten, answers = [], iter(leads)
    monkeypatch.setattr(opened[0], "forget", lambda: forgotten.append(1))
    monkeypatch.setattr(scene.board, "lease", lambda *_, ttl_s: next(answers))
    monkeypatch.setattr(serve, "_RENEWAL_S", 0.0)

    assert [thread._leads(), thread._leads()] == leads
    assert forgotten == [1, 1]
