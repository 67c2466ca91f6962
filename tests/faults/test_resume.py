"""A job that was stopped anywhere renders exactly what is missing, and the same picture."""

import json

import pytest

from app.cards import Catalogue
from app.domain.work import WORKER_STAGES, Stage, Work, work_of
from app.merging import assemble_picture, merge_phase
from app.planning import plan_request
from app.schemas import read_request
from app.settings import Settings
from tests.faults.renderer import blob_of, clean_pictures
from tests.support.tiny_model import build_tiny_model
from tests.unit.scheduling.scene import Scene

REQUEST = {
    "prompt": "islands",
    "height": 448,
    "width": 448,
    "tile": 64,
    "overlap": 0,
    "mode": "phased",
    "steps": 2,
    "model": "tiny",
}


ROUNDS = 50
"""More than any course of the job needs."""


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    build_tiny_model(folder / "tiny")
    return Catalogue([folder])


@pytest.fixture
def scene():
    return Scene(lookahead_s=3600.0, slice_units=256)


@pytest.fixture
def plan(scene, catalogue):
    """The plan of a job in line that nobody has begun."""
    planned = plan_request(read_request(REQUEST), catalogue, scene.runtime.settings)
    scene.submit("job")
    scene.runtime.ledger.accept("job", scene.request(), planned)
    return planned


@pytest.fixture(scope="module")
def clean(catalogue):
    """What the picture is when nothing stops the job."""
    chosen = Settings(broker_url="amqp://localhost//")
    return clean_pictures(plan_request(read_request(REQUEST), catalogue, chosen))


def units_of(plan):
    """What workers render, in order; both phases have 49 tiles."""
    return [work for group in work_of(plan) for work in group if work.stage in WORKER_STAGES]


def run(scene, plan, most):
    """Serve the job until *most* units are rendered or its picture is there; what was sent."""
    sent, left = [], most
    for _ in range(ROUNDS):
        fresh = [work for one in scene.round(6.0) for work in one.units]
        sent += fresh
        for work in fresh[:left]:
            scene.store.put(work.key(plan), blob_of(scene.store, plan, work))
            scene.told.append(event_of(plan, work))
        left -= len(fresh[:left])
        control(scene.store, plan)
        if not left or scene.store.exists(picture_of(plan)):
            return sent
    raise AssertionError("the job does not come to its end")


def control(store, plan):
    """Merge and assemble what is complete, as the control worker does."""
    for group in work_of(plan):
        for work in group:
            if store.exists(work.key(plan)):
                continue
            if work.stage is Stage.MERGE:
                merge_phase(store, plan, work.image, work.phase)
            elif work.stage is Stage.PICTURE:
                assemble_picture(store, plan, work.image)
            else:
                return


def picture_of(plan):
    return Work(Stage.PICTURE, 0).key(plan)


def event_of(plan, work):
    where = {"stage": work.stage, "image": work.image, "phase": work.phase, "index": work.index}
    event = {"kind": "unit", "status": "rendered", "job_id": "job", "plan_hash": plan.hash}
    return event | where | {"seconds": 1.0, "device": "cpu", "model": "tiny", "node": "w1@a"}


@pytest.mark.parametrize("percent", [1, 10, 50, 90, 99])
def test_a_job_stopped_anywhere_renders_exactly_what_is_missing(scene, plan, clean, percent):
    units = units_of(plan)
    run(scene, plan, len(units) * percent // 100 or 1)
    missing = {work for work in units if not scene.store.exists(work.key(plan))}
    scene.dispatcher = scene.another()  # dispatcher, queues and board are gone with the crash

    again = run(scene, plan, len(units))

    assert len(units) >= 100
    assert sorted(again) == sorted(missing)
    assert pictures(scene.store, plan) == clean


def pictures(store, plan):
    return [str(json.loads(store.get(f"{picture_of(plan)}.json"))["sha256"])]
