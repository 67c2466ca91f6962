import os
import subprocess
import sys

import pytest
from kombu import Connection, Producer

from app.domain.errors import ConfigurationError
from app.domain.spec import Priority
from app.domain.work import Stage
from app.queues import (
    DEAD_LETTERS,
    DEAD_QUEUE,
    EXCHANGE,
    check_broker,
    dead_queue,
    queue_arguments,
    queue_name,
    queues,
    route,
)
from app.settings import QueueProfile, Settings

pytestmark = pytest.mark.integration


@pytest.fixture
def chosen(broker_url):
    return Settings(broker_url=broker_url)


@pytest.fixture
def channel(broker_url):
    with Connection(broker_url) as connection:
        yield connection.channel()


def publish(channel, priority, text):
    Producer(channel).publish(text, exchange=EXCHANGE, routing_key="gpu.tile.m", priority=priority)


def test_queues_are_declared_and_may_be_declared_again(chosen):
    first = check_broker(chosen)

    assert check_broker(chosen) == first
    assert first.startswith("3.")


def test_messages_come_by_priority_and_then_by_age(chosen, channel):
    check_broker(chosen)
    for number, priority in enumerate([1, 5, 9, 1, 5, 9]):
        publish(channel, priority, f"{priority}-{number}")

    queue = queues(chosen)[1].bind(channel)
    received = [queue.get(no_ack=True).payload for _ in range(6)]

    assert received == ["9-2", "9-5", "5-1", "5-4", "1-0", "1-3"]


def test_a_message_that_two_pools_could_take_goes_to_one_of_them(broker_url, channel):
    pools = {"maps": ["tile.atlas"], "gpu": ["tile.*"]}
    chosen = Settings(broker_url=broker_url, pools=pools)
    check_broker(chosen)
    options = route(chosen, Stage.TILE, "atlas", Priority.NORMAL)

    Producer(channel).publish("x", exchange=EXCHANGE, routing_key=options["routing_key"])

    maps, gpu = (queue.bind(channel) for queue in queues(chosen))
    assert maps.get(no_ack=True).payload == "x"
    assert gpu.get(no_ack=True) is None


def test_a_rejected_message_is_kept_for_a_person(chosen, channel):
    check_broker(chosen)
    publish(channel, 5, "what no worker understands")

    queues(chosen)[1].bind(channel).get().reject()

    dead = channel.connection.client.SimpleQueue(dead_queue())
    assert dead.get(timeout=20).payload == "what no worker understands"
    assert (dead.queue.name, dead.queue.exchange.name) == (DEAD_QUEUE, DEAD_LETTERS.name)


def test_the_profile_of_another_rabbitmq_is_refused_and_nothing_is_declared(broker_url, channel):
    chosen = Settings(broker_url=broker_url, queue_profile=QueueProfile.RMQ4)

    with pytest.raises(ConfigurationError) as caught:
        check_broker(chosen)

    assert str(caught.value).startswith("TILECHORD_QUEUE_PROFILE must be rmq3 for RabbitMQ 3.")
    with pytest.raises(channel.connection.channel_errors):
        channel.queue_declare(queue_name("gpu"), passive=True)


def test_a_queue_with_other_arguments_is_refused_with_the_way_out(chosen, channel):
    channel.queue_declare(queue_name("gpu"), durable=True, auto_delete=False)

    with pytest.raises(ConfigurationError) as caught:
        check_broker(chosen)

    assert str(caught.value).startswith("the broker has a queue of this name with other arguments")


def test_this_broker_takes_the_arguments_of_quorum_queues(broker_url, channel):
    chosen = Settings(broker_url=broker_url, queue_profile=QueueProfile.RMQ4)

    for queue in queues(chosen):
        queue(channel).declare()

    assert queue_arguments(chosen)["x-queue-type"] == "quorum"


def test_wrong_credentials_are_told_from_a_broker_that_is_down(broker_url):
    wrong = broker_url.replace("tilechord:", "tilechord:wrong", 1)

    with pytest.raises(ConfigurationError, match=r"refuses these credentials"):
        check_broker(Settings(broker_url=wrong))


def test_a_publish_under_a_memory_alarm_ends_with_an_error(rabbitmq, cluster_env):
    env = cluster_env | {"TILECHORD_BROKER_URL": rabbitmq.new_vhost()}
    rabbitmq.ctl("set_vm_memory_high_watermark", "0")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.client", "submit", '{"prompt": "a map"}'],
            env=os.environ | env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        rabbitmq.ctl("set_vm_memory_high_watermark", "0.4")

    assert done.returncode == 1
    assert "BrokerUnavailableError: broker amqp://tilechord:**@127.0.0.1" in done.stderr
