"""Faults of RabbitMQ, Redis and the S3 server, and of what they hold."""

from __future__ import annotations

import time
from abc import abstractmethod
from contextlib import suppress
from random import Random

import redis
from kombu import Connection
from kombu.exceptions import OperationalError

from app.queues import queue_name
from tests.faults.faulty_store import Rates
from tests.faults.ground import Server
from tests.faults.nemesis import MissedError, Nemesis

_LOOK_LIMIT_S = 4.0
_WATERMARK = "0.6"


class BrokerConnections(Nemesis):
    name = "broker-connections"
    subject = "broker"

    def inject(self, rng: Random) -> dict[str, object]:
        self.field.ground.ctl("close_all_connections", "a fault")
        return {}


class BrokerStop(Nemesis):
    """RabbitMQ is stopped in order and started again."""

    name = "broker-stop"
    subject = "broker"
    hold_s = (0.5, 3.0)

    def inject(self, rng: Random) -> dict[str, object]:
        self.field.ground.ctl("stop_app")
        return {}

    def heal(self) -> None:
        self.field.ground.ctl("start_app")
        self.field.ground.ctl("await_startup")


class _ServerKill(Nemesis):
    hold_s = (0.3, 2.0)

    @abstractmethod
    def server(self) -> Server:
        """The server that is killed."""

    def inject(self, rng: Random) -> dict[str, object]:
        pid = self.server().pid
        self.server().kill()
        return {"process": pid}

    def heal(self) -> None:
        self.server().start()


class BrokerKill(_ServerKill):
    name = "broker-kill"
    subject = "broker"

    def server(self) -> Server:
        return self.field.ground.broker


class RedisKill(_ServerKill):
    name = "redis-kill"
    subject = "redis"

    def server(self) -> Server:
        return self.field.ground.redis


class StoreKill(_ServerKill):
    name = "s3-kill"
    subject = "s3"

    def server(self) -> Server:
        return self.field.ground.s3


class MemoryAlarm(Nemesis):
    """RabbitMQ takes no message while it believes to have no memory."""

    name = "memory-alarm"
    subject = "broker"
    hold_s = (2.0, 5.0)

    def inject(self, rng: Random) -> dict[str, object]:
        self.field.ground.ctl("set_vm_memory_high_watermark", "0")
        return {}

    def heal(self) -> None:
        self.field.ground.ctl("set_vm_memory_high_watermark", _WATERMARK)


class DiskAlarm(Nemesis):
    name = "disk-alarm"
    subject = "broker"
    hold_s = (2.0, 5.0)

    def inject(self, rng: Random) -> dict[str, object]:
        self.field.ground.ctl("set_disk_free_limit", "100000GB")
        return {}

    def heal(self) -> None:
        self.field.ground.ctl("set_disk_free_limit", "50MB")


class Purge(Nemesis):
    """Messages of tiles vanish, as with a queue that was deleted or not durable."""

    name = "purge"
    subject = "broker"

    def inject(self, rng: Random) -> dict[str, object]:
        with Connection(self.field.ground.direct_env()["TILECHORD_BROKER_URL"]) as connection:
            count = connection.default_channel.queue_purge(queue_name("gpu"))
        if not count:
            raise MissedError("no message was waiting")
        return {"messages": count}


class DuplicateDelivery(Nemesis):
    """A tile's message is delivered once more, or three times."""

    name = "duplicate-delivery"

    def inject(self, rng: Random) -> dict[str, object]:
        copies, deadline = rng.randint(1, 3), time.monotonic() + _LOOK_LIMIT_S
        while time.monotonic() < deadline:
            with suppress(OSError, OperationalError):
                if self._copy(copies):
                    return {"copies": copies}
            time.sleep(0.05)
        raise MissedError("no message was waiting")

    def _copy(self, copies: int) -> bool:
        with Connection(self.field.ground.direct_env()["TILECHORD_BROKER_URL"]) as connection:
            message = connection.default_channel.basic_get(queue_name("gpu"))
            if message is None:
                return False
            message = connection.default_channel.message_to_python(message)
            with connection.Producer(serializer=None) as producer:
                for _ in range(copies):
                    producer.publish(
                        message.body,
                        exchange="",
                        routing_key=queue_name("gpu"),
                        content_type=message.content_type,
                        content_encoding=message.content_encoding,
                        headers=message.headers,
                        **{
                            name: message.properties[name]
                            for name in ("correlation_id", "reply_to", "priority", "delivery_mode")
                            if name in message.properties
                        },
                    )
            message.requeue()
        return True


class RedisFlush(Nemesis):
    name = "redis-flush"
    subject = "redis"

    def inject(self, rng: Random) -> dict[str, object]:
        url = self.field.ground.direct_env()["TILECHORD_RESULT_BACKEND"]
        with redis.Redis.from_url(url) as client:
            keys = client.dbsize()
            client.flushall()
        return {"keys": keys}


class _StoreRates(Nemesis):
    """The S3 front misbehaves at some rate."""

    subject = "s3"
    hold_s = (2.0, 6.0)

    @abstractmethod
    def rates(self, rng: Random) -> Rates:
        """How often the store misbehaves, and how."""

    def inject(self, rng: Random) -> dict[str, object]:
        rates = self.rates(rng)
        self.field.ground.front.rates = rates
        return {name: value for name, value in vars(rates).items() if value}

    def heal(self) -> None:
        self.field.ground.front.heal()


class StoreErrors(_StoreRates):
    name = "s3-errors"

    def rates(self, rng: Random) -> Rates:
        return Rates(error_500=rng.uniform(0.05, 0.2), error_503=rng.uniform(0.05, 0.2))


class StoreOutage(_StoreRates):
    """Longer than the store's own client keeps trying."""

    name = "s3-outage"
    hold_s = (3.0, 5.0)

    def rates(self, rng: Random) -> Rates:
        return Rates(error_503=1.0)


class StoreLostAnswers(_StoreRates):
    name = "s3-lost-answers"

    def rates(self, rng: Random) -> Rates:
        return Rates(lost_answer=rng.uniform(0.1, 0.3), silence_s=rng.choice([0.0, 0.5]))


class StoreTruncated(_StoreRates):
    name = "s3-truncated"

    def rates(self, rng: Random) -> Rates:
        return Rates(truncated=rng.uniform(0.05, 0.3))


class StoreSlow(_StoreRates):
    name = "s3-slow"

    def rates(self, rng: Random) -> Rates:
        return Rates(slow=rng.uniform(0.2, 0.5), slow_s=rng.uniform(0.2, 1.0))


SERVER_FAULTS: list[type[Nemesis]] = [
    *(BrokerConnections, BrokerStop, BrokerKill, MemoryAlarm, DiskAlarm, Purge),
    *(DuplicateDelivery, RedisFlush, RedisKill),
    *(StoreKill, StoreErrors, StoreOutage, StoreLostAnswers, StoreTruncated, StoreSlow),
]
