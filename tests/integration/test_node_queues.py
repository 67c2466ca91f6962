"""Queues of single nodes on a real broker."""

import pytest
from kombu import Connection, Producer

from app.domain.spec import Priority
from app.domain.work import Stage
from app.node_queues import node_queue, to_node
from app.queues import check_broker, dead_queue, queues, route
from app.settings import Settings

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def chosen(rabbitmq):
    chosen = Settings(broker_url=rabbitmq.new_vhost())
    check_broker(chosen)
    return chosen


@pytest.fixture
def channel(chosen):
    with Connection(chosen.broker_url.get_secret_value()) as connection:
        yield connection.channel()


@pytest.fixture
def node(chosen, channel):
    """The queue of one node, as its worker declares it."""
    queue = node_queue(chosen, "w1@host")(channel)
    queue.declare()
    return queue


@pytest.fixture
def pool(chosen, channel):
    return queues(chosen)[1].bind(channel)


def send(channel, chosen, node, text, priority=Priority.NORMAL):
    options = to_node(route(chosen, Stage.TILE, "m", priority), node)
    where = {name: options[name] for name in ("exchange", "routing_key", "priority")}
    Producer(channel).publish(text, **where)


def taken(queue):
    """Everything in *queue*, the first first."""
    messages = iter(lambda: queue.get(no_ack=True), None)
    return [message.payload for message in messages]


def test_what_is_sent_to_a_node_is_in_its_queue_alone(chosen, channel, node, pool):
    send(channel, chosen, "w1@host", "x")

    assert (taken(node), taken(pool)) == (["x"], [])


def test_what_is_sent_to_a_node_that_has_gone_is_in_the_pools_queue(chosen, channel, node, pool):
    send(channel, chosen, "w2@host", "x")

    assert (taken(node), taken(pool)) == ([], ["x"])


def test_a_nodes_messages_come_by_priority(chosen, channel, node):
    for priority in (Priority.LOW, Priority.HIGH, Priority.NORMAL):
        send(channel, chosen, "w1@host", str(priority), priority)

    assert taken(node) == ["high", "normal", "low"]


def test_what_a_node_rejects_is_kept_for_a_person(chosen, channel, node):
    send(channel, chosen, "w1@host", "what no worker understands")

    node.get().reject()

    dead = channel.connection.client.SimpleQueue(dead_queue())
    assert dead.get(timeout=20).payload == "what no worker understands"
