import pytest

from app.domain.scheduling.placement import Strategy
from app.domain.spec import Priority
from app.domain.work import Stage
from app.node_queues import NODES, node_queue, node_queue_name, strategy_of, to_node
from app.queues import EXCHANGE, queue_arguments, route
from app.settings import Settings

BROKER = "amqp://user:secret@127.0.0.1:1//"


def chosen(**changes) -> Settings:
    return Settings(**({"broker_url": BROKER} | changes))


def test_units_are_pulled_unless_it_is_set_otherwise():
    assert strategy_of(chosen(), "gpu") is Strategy.LEAST_LOADED


def test_a_pool_may_differ_from_its_installation():
    settings = chosen(placing="weighted", pool_placing={"gpu": "affinity"})

    assert strategy_of(settings, "gpu") is Strategy.AFFINITY


@pytest.mark.parametrize(
    ("pool", "keys", "strategy"),
    [
        ("control", ["plan.*", "finish.*"], Strategy.LEAST_LOADED),
        ("large", [], Strategy.LEAST_LOADED),
        ("any", ["#"], Strategy.RANDOM),
        ("tiles", ["tile.atlas"], Strategy.RANDOM),
    ],
)
def test_only_pools_that_render_are_placed(pool, keys, strategy):
    assert strategy_of(chosen(placing="random", pools={pool: keys}), pool) is strategy


def test_one_process_has_nobody_to_choose_from():
    assert strategy_of(Settings(placing="weighted"), "gpu") is Strategy.LEAST_LOADED


@pytest.mark.parametrize("profile", ["rmq3", "rmq4"])
def test_a_nodes_queue_has_what_its_pools_has_and_expires_by_itself(profile):
    settings = chosen(queue_profile=profile)

    queue = node_queue(settings, "W1@host.example")

    assert queue.name == "render.node.w1-host-example.v1" == node_queue_name("W1@host.example")
    assert queue.queue_arguments == queue_arguments(settings) | {"x-expires": 60_000}
    assert queue.durable


def test_a_message_for_a_node_carries_its_pool_first_and_the_node_last():
    options = route(chosen(), Stage.TILE, "atlas", Priority.HIGH)

    sent = to_node(options, "w1@host")

    assert sent["exchange"] == NODES.name
    assert sent["routing_key"] == "gpu.tile.atlas.w1-host"
    assert (sent["queue"], sent["priority"]) == ("render.gpu.v1", Priority.HIGH.level)
    assert node_queue(chosen(), "w1@host").routing_key == "#.w1-host"


def test_what_names_no_node_goes_to_the_pool():
    options = route(chosen(), Stage.TILE, "atlas", Priority.LOW)

    assert to_node(options, "") == options


def test_what_finds_no_node_goes_on_to_the_pools():
    assert NODES.arguments == {"alternate-exchange": EXCHANGE.name}
