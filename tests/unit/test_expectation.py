"""What is told of a job that is ordered now: when it begins, when it is done, or neither."""

import io
from dataclasses import replace

import pytest
from PIL import Image

from app import client
from app.bootstrap import Runtime
from app.cards import Catalogue
from app.domain.errors import BrokerUnavailableError
from app.domain.work import WORKER_STAGES, image_work
from app.expectation import Expectation, expect
from app.jobs import JobLedger
from app.live.memory import MemoryBoard
from app.planning import plan_request
from app.scheduling.forecast import Forecast
from app.schemas import read_request
from app.settings import Settings
from app.storage.memory import MemoryStore
from tests.support.card_model import write_card_model

REQUEST = read_request({"prompt": "a map", "width": 256, "height": 256})
NOTHING = Expectation(None, None)


class Board(MemoryBoard):
    """Counts how often it is asked."""

    looks = 0

    def shown(self, topic):
        self.looks += 1
        return super().shown(topic)


class DeadBoard(MemoryBoard):
    def shown(self, topic):
        raise BrokerUnavailableError("results backend does not answer")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    write_card_model(root / "tiny")
    return root


@pytest.fixture
def app(models):
    """An installation of two workers on a CPU, with a minute of work before them."""
    store, board = MemoryStore(), Board()
    chosen = Settings(broker_url="amqp://localhost//", model="tiny")
    app = Runtime(chosen, store, JobLedger(store), Catalogue([models]), board)
    show(app)
    return app


def show(app, pool="gpu", crew=None, pending_s=60.0):
    crew = {"cpu": 2} if crew is None else crew
    record = {"pending_s": pending_s, "workers": sum(crew.values()), "crew": crew}
    app.board.show("pools", pool, record, ttl_s=60)


def learn(app, seconds=2.0, request=REQUEST, device="cpu", control_s=None):
    """Let every unit of the request have taken *seconds* before; how many there are.

    And every step of a control worker *control_s*.
    """
    plan, forecast = plan_request(request, app.catalogue, app.settings), Forecast(app.store)
    works = [work for group in image_work(plan, 0) for work in group]
    if control_s is not None:
        steps = [work for work in works if work.stage not in WORKER_STAGES]
        forecast.observe_steps(plan, dict.fromkeys(steps, control_s))
    works = [work for work in works if work.stage in WORKER_STAGES]
    for work in works:
        event = {"status": "rendered", "seconds": seconds, "device": device, "node": "w1@a"}
        forecast.observe(plan, work, event)
    forecast.save(1)
    return len(works)


def test_a_job_begins_when_what_waits_is_served_by_all_workers(app):
    assert expect(app, REQUEST) == Expectation(30.0, None)


def test_a_job_is_done_when_what_waits_and_its_own_units_are(app):
    units = learn(app)
    show(app, crew={"cpu": 1})

    told = expect(app, REQUEST)

    assert told.begin_s == 60.0
    assert told.finish_s == pytest.approx(60.0 + 2.0 * units)


def test_every_picture_of_a_job_counts(app):
    learn(app)
    show(app, crew={"cpu": 1})
    one = expect(app, REQUEST).finish_s - 60.0

    both = expect(app, REQUEST.model_copy(update={"count": 2})).finish_s - 60.0

    assert both == pytest.approx(2 * one)


@pytest.mark.parametrize("count", [1, 3])
def test_merging_and_assembling_the_last_picture_counts(app, count):
    units = learn(app, control_s=5.0)
    show(app, crew={"cpu": 1})
    plan = plan_request(REQUEST, app.catalogue, app.settings)

    told = expect(app, REQUEST.model_copy(update={"count": count}))

    steps_s = 5.0 * (len(plan.phases) + 1)
    assert told.finish_s == pytest.approx(60.0 + 2.0 * units * count + steps_s)


@pytest.mark.parametrize("crew", [{}, {"cuda:0": 1}, {"cpu": 1, "cuda:0": 1}], ids=str)
def test_the_end_is_not_known_of_devices_that_never_did_such_work(app, crew):
    learn(app)
    show(app, crew=crew)

    assert expect(app, REQUEST).finish_s is None


def test_the_beginning_is_not_known_where_no_worker_is(app):
    show(app, crew={})

    assert expect(app, REQUEST) == NOTHING


def test_of_a_model_that_workers_alone_have_the_beginning_is_told(app):
    learn(app)

    told = expect(app, REQUEST.model_copy(update={"model": "elsewhere"}))

    assert told == Expectation(30.0, None)


def test_no_upload_is_read_to_tell_the_end(app):
    learn(app)
    picture = io.BytesIO()
    Image.new("L", (256, 256), 255).save(picture, "png")
    app.store.put("inputs/mask", picture.getvalue())
    uploads = {"init_image": "inputs/mask", "mask": "inputs/mask"}

    assert expect(app, REQUEST.model_copy(update=uploads)) == Expectation(30.0, None)


def test_a_job_of_several_pools_begins_in_the_first_and_its_end_is_not_known(app):
    learn(app)
    pools = {"layout": ["base.*"], "gpu": ["tile.*", "upscale.*"]}
    apart = replace(app, settings=app.settings.model_copy(update={"pools": pools}))
    show(app, "layout", pending_s=8.0)

    assert expect(apart, REQUEST) == Expectation(4.0, None)


def test_the_board_is_looked_at_once(app):
    learn(app)

    expect(app, REQUEST)

    assert app.board.looks == 1


@pytest.mark.parametrize("board", [MemoryBoard(), DeadBoard()], ids=["empty", "silent"])
def test_a_board_that_tells_nothing_leaves_all_open(app, board):
    assert expect(replace(app, board=board), REQUEST) == NOTHING


def test_of_a_single_process_nothing_is_told(app):
    alone = app.settings.model_copy(update={"broker_url": Settings().broker_url})

    assert expect(replace(app, settings=alone), REQUEST) == NOTHING


@pytest.mark.parametrize("request_", [REQUEST, REQUEST.model_dump()], ids=["request", "mapping"])
def test_programs_ask_the_client_and_send_nothing(app, monkeypatch, request_):
    monkeypatch.setattr(client, "runtime", lambda: app)

    assert client.estimate(request_) == Expectation(30.0, None)
    assert list(app.store.keys("")) == []
