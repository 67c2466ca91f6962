from dataclasses import dataclass

import pytest
from celery import Celery, signature

from app.results import EmbeddedBackend


@dataclass(frozen=True)
class Request:
    id: str
    group: str | None
    chord: dict | None


@pytest.fixture
def backend():
    celery = Celery(broker="memory://", set_as_current=False)
    return EmbeddedBackend(app=celery)


@pytest.fixture
def started(monkeypatch):
    """Bodies that were started, in order."""
    names = []
    monkeypatch.setattr(
        "celery.canvas.Signature.apply_async", lambda self, *_, **__: names.append(self.task)
    )
    return names


BODY = dict(signature("app.tasks.merge", kwargs={"job_id": "job"}, immutable=True))


def members(group, *ids):
    return [Request(name, group, BODY) for name in ids]


def test_the_body_starts_when_the_last_member_has_returned(backend, started):
    backend.set_chord_size("g1", 3)

    for request in members("g1", "a", "b"):
        backend.on_chord_part_return(request, "SUCCESS", {})
    assert started == []
    backend.on_chord_part_return(members("g1", "c")[0], "SUCCESS", {})

    assert started == ["app.tasks.merge"]


def test_a_member_delivered_twice_counts_once(backend, started):
    backend.set_chord_size("g2", 2)

    for request in members("g2", "a", "a"):
        backend.on_chord_part_return(request, "SUCCESS", {})

    assert started == []


def test_members_that_return_before_the_last_is_sent_do_not_start_the_body(backend, started):
    for request in members("g3", "a", "b"):
        backend.on_chord_part_return(request, "SUCCESS", {})
    assert started == []

    backend.set_chord_size("g3", 3)
    backend.on_chord_part_return(members("g3", "c")[0], "SUCCESS", {})

    assert started == ["app.tasks.merge"]


def test_a_task_outside_any_chord_is_no_ones_member(backend, started):
    backend.on_chord_part_return(Request("a", None, None), "SUCCESS", {})

    assert started == []


def test_results_are_seen_by_every_thread_of_the_process(backend):
    backend.set("celery-task-meta-x", b"1")

    assert EmbeddedBackend(app=backend.app).get("celery-task-meta-x") == b"1"
    assert backend.mget(["celery-task-meta-x", "nope"]) == [b"1", None]
