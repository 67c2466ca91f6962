"""Resuming a job that ended, whatever fails or dies over it."""

from dataclasses import replace
from functools import partial

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from app import client
from app.celery import celery
from app.domain.errors import BrokerUnavailableError
from app.entries import entry_of
from app.jobs import JobState
from app.outcomes import reopen, settle
from tests.unit.scheduling.scene import Scene
from tests.unit.test_jobs import manifest

MOST_WRITES = 20
"""More than resuming a job takes."""
ENDS = {
    "failed": lambda ledger: ledger.fail("job", "tile 3: broken"),
    "cancelled": lambda ledger: ledger.cancel("job"),
}


MEANWHILE = {
    "nobody": lambda _: None,
    "a dispatcher": lambda scene: scene.round(1.0),
    "a worker": lambda scene: settle(scene.runtime, "job"),
}


class ClientDiedError(BaseException):
    """Nothing that a client could do something about."""


class Client:
    """Resumes a job, and dies before a write; calls *meanwhile* before each."""

    def __init__(self, scene, monkeypatch, *, lives_for, meanwhile):
        self.left, self.meanwhile, self.is_acting = lives_for, meanwhile, False
        monkeypatch.setattr("app.client.runtime", lambda: scene.runtime)
        for name in ("put", "delete"):
            monkeypatch.setattr(scene.store, name, partial(self.write, getattr(scene.store, name)))

    def write(self, method, *arguments):
        if self.is_acting:
            self.is_acting = False
            self.meanwhile()
            if not self.left:
                raise ClientDiedError
            self.left -= 1
            self.is_acting = True
        return method(*arguments)

    def resume(self):
        """Whether it lived long enough."""
        self.is_acting = True
        try:
            client.resume("job")
        except ClientDiedError:
            return False
        finally:
            self.is_acting = False
        return True


def ended(end):
    scene = Scene()
    scene.accept()
    ENDS[end](scene.runtime.ledger)
    settle(scene.runtime, "job")
    return scene


@pytest.mark.parametrize("other", MEANWHILE)
@pytest.mark.parametrize("end", ENDS)
def test_a_job_has_its_end_or_is_served_whenever_its_client_dies(end, other, monkeypatch):
    nobodys = []
    for writes in range(MOST_WRITES):
        scene = ended(end)
        look = partial(MEANWHILE[other], scene)
        with monkeypatch.context() as patch:
            has_lived = Client(scene, patch, lives_for=writes, meanwhile=look).resume()
        scene.round(1.0, times=3)
        is_served = bool(scene.publisher.slices) and scene.runtime.entries.find("job") is not None
        has_end = scene.runtime.ledger.has_ended("job")
        if has_end == is_served or (has_lived and has_end):
            nobodys.append((writes, has_end, is_served))
        if has_lived:
            break

    assert has_lived
    assert nobodys == []


def test_a_job_keeps_its_end_where_redis_is_away(monkeypatch):
    def fail(*_):
        raise RedisConnectionError("refused")

    scene = ended("failed")
    monkeypatch.setattr("app.client.runtime", lambda: scene.runtime)
    monkeypatch.setattr(celery.backend, "forget", fail)

    with pytest.raises(BrokerUnavailableError):
        client.resume("job")

    assert scene.runtime.ledger.status("job").state is JobState.FAILED
    assert scene.runtime.ledger.failure("job") == "tile 3: broken"
    assert scene.runtime.entries.all() == []


def test_a_job_that_fails_again_is_not_reopened_again():
    scene = ended("failed")
    reopen(scene.runtime, entry_of("job", scene.request()))
    scene.runtime.ledger.fail("job", "tile 4: broken")

    scene.round(1.0, times=8)

    assert scene.runtime.ledger.failure("job") == "tile 4: broken"
    assert scene.runtime.entries.all() == []


def test_a_job_that_is_being_reopened_and_has_a_picture_leaves_the_line(scene):
    scene.accept()
    scene.runtime.entries.add(replace(entry_of("job", scene.request()), is_reopening=True))
    scene.runtime.ledger.finish(manifest("job"))

    assert settle(scene.runtime, "job")

    assert scene.runtime.entries.keys("job") == []


def test_a_reopening_that_is_done_since_the_line_was_listed_takes_no_later_end_back(monkeypatch):
    scene = Scene()
    scene.submit("job")
    listed = [replace(entry, is_reopening=True) for entry in scene.runtime.entries.all()]
    monkeypatch.setattr("app.entries.Entries.all", lambda _: listed)
    scene.runtime.ledger.cancel("job")

    scene.round(1.0)

    assert scene.runtime.ledger.is_cancelled("job")
