import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import BrokerUnavailableError, ConfigurationError
from app.domain.spec import Priority
from app.domain.work import Stage
from app.queues import (
    check_broker,
    check_results,
    dead_queue,
    queue_arguments,
    queues,
    route,
    route_key,
    to_pool,
    translated_send_errors,
    with_bigger,
)
from app.settings import QueueProfile, Settings

BROKER = "amqp://user:secret@127.0.0.1:1//"


def chosen(**changes) -> Settings:
    return Settings(**({"broker_url": BROKER} | changes))


@pytest.mark.parametrize(
    ("stage", "routing_key", "queue"),
    [
        (Stage.BASE, "gpu.base.sd-1-5", "render.gpu.v1"),
        (Stage.PREPARE, "gpu.base.sd-1-5", "render.gpu.v1"),
        (Stage.TILE, "gpu.tile.sd-1-5", "render.gpu.v1"),
        (Stage.HEAD, "gpu.upscale.sd-1-5", "render.gpu.v1"),
        (Stage.CORE, "gpu.upscale.sd-1-5", "render.gpu.v1"),
        (Stage.MERGE, "control.finish.default", "render.control.v1"),
        (Stage.PICTURE, "control.finish.default", "render.control.v1"),
    ],
)
def test_work_goes_to_the_pool_bound_to_its_type(stage, routing_key, queue):
    options = route(chosen(), stage, "SD 1.5", Priority.NORMAL)

    assert (options["routing_key"], options["queue"]) == (routing_key, queue)
    assert options["exchange"] == "render"


def test_a_pool_may_serve_one_model_alone():
    pools = {"big": ["tile.sdxl"], "gpu": ["base.*", "tile.*", "upscale.*"]}

    options = route(chosen(pools=pools), Stage.TILE, "sdxl", Priority.NORMAL)

    assert options["queue"] == "render.big.v1"


@pytest.mark.parametrize(
    ("binding", "model"),
    [
        ("base.SDXL", "SDXL"),
        ("base.sd1.5", "sd1.5"),
        ("base.SD 1*", "SD 1.5"),
        ("*.Ünder", "ünder"),
    ],
    ids=["upper case", "dot", "wildcard", "any type"],
)
def test_a_pool_is_bound_to_the_name_of_a_model_as_people_spell_it(binding, model):
    chosen_pools = chosen(pools={"own": [binding], "gpu": ["#"]})

    assert route(chosen_pools, Stage.BASE, model, Priority.NORMAL)["queue"] == "render.own.v1"
    assert route(chosen_pools, Stage.BASE, "other", Priority.NORMAL)["queue"] == "render.gpu.v1"


def test_priorities_are_ordered_high_normal_low():
    levels = [
        route(chosen(), Stage.TILE, "m", priority)["priority"]
        for priority in (Priority.HIGH, Priority.NORMAL, Priority.LOW)
    ]

    assert levels == sorted(levels, reverse=True)
    assert len(set(levels)) == 3


def test_a_message_without_a_pool_is_refused_and_not_lost():
    with pytest.raises(ConfigurationError) as caught:
        route_key(chosen(pools={"gpu": ["tile.*"]}), "base.sd15", Priority.NORMAL)

    assert str(caught.value) == "TILECHORD_POOLS has no pool bound to 'base.sd15'"


@given(st.text(min_size=1, max_size=40))
def test_any_model_name_becomes_one_word_of_a_routing_key(name):
    key = route(chosen(), Stage.TILE, name, Priority.LOW)["routing_key"]

    assert key.count(".") == 2


def test_classic_queues_have_priorities_and_no_delivery_limit():
    arguments = queue_arguments(chosen(queue_profile=QueueProfile.RMQ3))

    assert arguments == {"x-max-priority": 10, "x-dead-letter-exchange": "render.dead"}


def test_quorum_queues_have_a_delivery_limit_and_no_max_priority():
    arguments = queue_arguments(chosen(queue_profile=QueueProfile.RMQ4, delivery_limit=7))

    assert arguments == {
        "x-queue-type": "quorum",
        "x-delivery-limit": 7,
        "x-dead-letter-exchange": "render.dead",
    }


def test_every_pool_is_one_queue_that_gets_only_its_own_messages():
    declared = {queue.name: queue for queue in queues(chosen())}

    assert set(declared) == {"render.control.v1", "render.gpu.v1"}
    assert [item.routing_key for item in declared["render.gpu.v1"].bindings] == ["gpu.#"]
    assert dead_queue().name == "render.dead.v1"


def test_a_broker_that_does_not_answer_is_named_without_its_password():
    with pytest.raises(BrokerUnavailableError) as caught:
        check_broker(chosen())

    assert "broker amqp://user:**@127.0.0.1:1// does not answer" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_embedded_broker_needs_no_check():
    assert check_broker(chosen(broker_url="memory://")) == "embedded"


@pytest.mark.parametrize("url", ["rpc://", "amqp://host", "embedded", "cache+memory://"])
def test_results_that_cannot_count_a_chord_are_refused(url):
    with pytest.raises(ConfigurationError, match="which can count the tiles of a chord"):
        check_results(chosen(result_backend=url))


def test_every_address_of_a_broker_is_tried_once_and_at_once():
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    urls = [f"amqp://127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
    asked = []
    for listener in listeners:
        threading.Thread(target=hang_up, args=(listener, asked), daemon=True).start()
    started = time.monotonic()

    with pytest.raises(BrokerUnavailableError):
        check_broker(chosen(broker_url=";".join(urls)))

    assert asked == [listener.getsockname()[1] for listener in listeners]
    assert time.monotonic() - started < 2  # what kombu waits before it tries again


def hang_up(listener: socket.socket, asked: list[int]) -> None:
    """Take connections and end them, noting the port that was asked."""
    with listener:
        while True:
            caller, _ = listener.accept()
            asked.append(listener.getsockname()[1])
            caller.close()


def test_results_that_do_not_answer_are_told_without_their_password():
    with pytest.raises(BrokerUnavailableError) as refusal:
        check_results(chosen(result_backend="redis://:secret@127.0.0.1:1/0"))

    assert str(refusal.value) == (
        "results backend redis://:**@127.0.0.1:1/0 does not answer (ConnectionError)"
    )


def test_results_are_waited_for_as_long_as_the_broker():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        started = time.monotonic()

        with pytest.raises(BrokerUnavailableError, match=r"does not answer \(TimeoutError\)$"):
            check_results(chosen(result_backend=url, broker_timeout_s=0.2))

    assert time.monotonic() - started < 2


def test_an_error_that_is_not_about_sending_stays_what_it_is():
    with pytest.raises(RuntimeError, match="a bug"), translated_send_errors(chosen()):
        raise RuntimeError("a bug")


@pytest.mark.parametrize(
    ("bigger", "chain"),
    [
        ({}, ["gpu"]),
        ({"large": "huge"}, ["gpu"]),
        ({"gpu": "large", "large": "huge"}, ["gpu", "large", "huge"]),
        ({"gpu": "large", "large": "gpu"}, ["gpu", "large"]),
        ({"gpu": "gpu"}, ["gpu"]),
        ({"gpu": "large", "large": "huge", "huge": "large"}, ["gpu", "large", "huge"]),
    ],
    ids=["none", "of another", "chain", "circle", "itself", "circle behind it"],
)
def test_bigger_pools_are_told_in_order_and_each_once(bigger, chain):
    pools = {"gpu": ["#"], "large": [], "huge": []}

    assert with_bigger(chosen(pools=pools, bigger_pool=bigger), "gpu") == chain


def test_what_another_pool_takes_over_keeps_its_kind_and_priority():
    options = route(chosen(), Stage.TILE, "sd15", Priority.HIGH)

    assert to_pool(options, "large") == options | {
        "queue": "render.large.v1",
        "routing_key": "large.tile.sd15",
    }
