"""The queues: one topic exchange, one queue per pool, one place for what could not be handled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from amqp.exceptions import AMQPError, PreconditionFailed
from kombu import Connection, Exchange, Queue, binding
from kombu.exceptions import KombuError, OperationalError
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError

from app.bindings import RENDERING_TYPES, TYPE_OF, matches, routing_word
from app.domain.errors import BrokerUnavailableError, ConfigurationError
from app.domain.spec import Priority
from app.domain.work import Stage
from app.settings import QueueProfile, Settings

# Queue arguments are immutable: other arguments under the same name are refused by RabbitMQ,
# so a change of arguments raises this number.
VERSION = 1
EXCHANGE = Exchange("render", type="topic", durable=True)
DEAD_LETTERS = Exchange("render.dead", type="fanout", durable=True)
DEAD_QUEUE = f"render.dead.v{VERSION}"


def queue_name(pool: str) -> str:
    return f"render.{pool}.v{VERSION}"


def queues(settings: Settings) -> list[Queue]:
    """One queue per pool, with the arguments of the profile."""
    arguments = queue_arguments(settings)
    return [
        Queue(
            queue_name(pool),
            # The publisher chose the pool: were patterns bound here, a message that two pools'
            # patterns match would be delivered to both.
            bindings=[binding(EXCHANGE, routing_key=f"{pool}.#")],
            queue_arguments=arguments,
            durable=True,
        )
        for pool in settings.pools
    ]


def dead_queue() -> Queue:
    """Messages that no worker could handle, kept for a person to look at."""
    return Queue(DEAD_QUEUE, exchange=DEAD_LETTERS, routing_key="", durable=True)


def queue_arguments(settings: Settings) -> dict[str, object]:
    if settings.is_embedded:
        return {}
    dead = {"x-dead-letter-exchange": DEAD_LETTERS.name}
    if settings.queue_profile is QueueProfile.RMQ3:
        # Classic: quorum queues of 3.x have no priorities, and refuse x-max-priority.
        return {"x-max-priority": 10, **dead}
    # Quorum: priorities are native from 4.0 on; a message that kills its worker again and
    # again is dead-lettered instead of circulating for ever.
    return {"x-queue-type": "quorum", "x-delivery-limit": settings.delivery_limit, **dead}


def route(settings: Settings, stage: Stage, model: str, priority: Priority) -> dict[str, Any]:
    """Publishing options for work of *stage* on *model*."""
    kind = TYPE_OF[stage]
    resource = routing_word(model) if kind in RENDERING_TYPES else "default"
    return route_key(settings, f"{kind}.{resource}", priority)


def route_key(settings: Settings, routing_key: str, priority: Priority) -> dict[str, Any]:
    """Publishing options for work of *routing_key*, in the first pool that takes it.

    Naming the queue makes the publisher declare it: a message no queue is bound for would vanish.
    """
    for pool, keys in settings.pools.items():
        if any(matches(pattern, routing_key) for pattern in keys):
            return {
                "queue": queue_name(pool),
                "exchange": EXCHANGE.name,
                "routing_key": f"{pool}.{routing_key}",
                "priority": priority.level,
            }
    raise ConfigurationError(f"TILECHORD_POOLS has no pool bound to {routing_key!r}")


def plan_route(settings: Settings, priority: Priority) -> dict[str, Any]:
    """Publishing options of an order, which a control worker plans."""
    return route_key(settings, "plan.default", priority)


def control_queue(settings: Settings) -> str:
    """The queue that every worker serves which may dispatch and clean."""
    return queue_name(control_pool(settings))


def control_pool(settings: Settings) -> str:
    """The pool whose workers may dispatch and clean."""
    options = route_key(settings, "finish.default", Priority.NORMAL)
    return pool_of(str(options["routing_key"]))


def pool_of(routing_key: str) -> str:
    """The pool that ``route_key`` put before what is done there."""
    return routing_key.partition(".")[0]


def with_bigger(settings: Settings, pool: str) -> list[str]:
    """*pool*, then those to which what does not fit moves on; each once, also in a circle."""
    chain = [pool]
    while (bigger := settings.bigger_pool.get(chain[-1])) and bigger not in chain:
        chain.append(bigger)
    return chain


def to_pool(options: Mapping[str, Any], pool: str) -> dict[str, Any]:
    """Publishing *options* of one pool for another, which takes over what it is not bound to."""
    key = str(options["routing_key"]).partition(".")[2]
    queue = {"queue": queue_name(pool), "exchange": EXCHANGE.name, "routing_key": f"{pool}.{key}"}
    return dict(options) | queue


def connect(connection: Connection) -> None:
    """Try each of the connection's addresses once; the last one's failure is raised.

    kombu's own ``connect`` tries two of them, and waits 2 s between two tries of a single one.
    """
    connection.ensure_connection(max_retries=max(len(connection.alt), 1) - 1)


def check_broker(settings: Settings) -> str:
    """Declare every queue and return the version of the RabbitMQ that answers.

    Raises ``BrokerUnavailableError`` when none does, ``ConfigurationError`` when the queue
    profile is for another version or the queues exist with other arguments.
    """
    if settings.is_embedded:
        return "embedded"
    url = settings.broker_url.get_secret_value()
    try:
        with Connection(url, connect_timeout=settings.broker_timeout_s) as connection:
            connect(connection)
            version = str(connection.connection.server_properties.get("version", "0"))
            _check_profile(settings.queue_profile, version)
            for queue in [*queues(settings), dead_queue()]:
                queue(connection.default_channel).declare()
            return version
    except PreconditionFailed as err:
        raise ConfigurationError(
            f"the broker has a queue of this name with other arguments; "
            f"delete it or change TILECHORD_QUEUE_PROFILE ({err})"
        ) from err
    except (KombuError, AMQPError, OSError) as err:
        raise broker_error(url, err) from err


def check_results(settings: Settings) -> str:
    """Version and place of the Redis that answers.

    Raises ``BrokerUnavailableError`` when none does, ``ConfigurationError`` for a backend that
    cannot count a chord's tiles or refuses the credentials.
    """
    if settings.is_embedded:
        return "in this process"
    url, limit = settings.result_backend.get_secret_value(), settings.broker_timeout_s
    scheme = url.partition(":")[0]
    if scheme not in {"redis", "rediss"}:
        raise ConfigurationError(
            "TILECHORD_RESULT_BACKEND must be redis:// or rediss://, which can count the tiles "
            f"of a chord, got {scheme}"
        )
    place = Connection(url).as_uri()
    try:
        with Redis.from_url(url, socket_timeout=limit, socket_connect_timeout=limit) as redis:
            return f"Redis {redis.info('server')['redis_version']} at {place}"
    except AuthenticationError as err:
        raise ConfigurationError(f"results backend {place} refuses these credentials") from err
    except (RedisError, ValueError) as err:
        raise BrokerUnavailableError(
            f"results backend {place} does not answer ({type(err).__name__})"
        ) from err


@contextmanager
def translated_send_errors(settings: Settings) -> Iterator[None]:
    """Raises what publishing raises as ``BrokerUnavailableError`` or ``ConfigurationError``."""
    try:
        yield
    except (OperationalError, OSError) as err:
        raise broker_error(settings.broker_url.get_secret_value(), err) from err
    except (RedisError, RuntimeError) as err:
        # Celery raises what Redis does, or a RuntimeError of its own when retries are used up.
        if not isinstance(err, RedisError) and not isinstance(err.__cause__, (OSError, RedisError)):
            raise
        place = Connection(settings.result_backend.get_secret_value()).as_uri()
        raise BrokerUnavailableError(f"results backend {place} does not answer") from err


def broker_error(url: str, error: BaseException) -> BrokerUnavailableError | ConfigurationError:
    """What went wrong at *url*, without its password."""
    place = Connection(url).as_uri()
    if "ACCESS_REFUSED" in str(error) or "access refused" in str(error).lower():
        return ConfigurationError(f"broker {place} refuses these credentials")
    return BrokerUnavailableError(f"broker {place} does not answer ({error})")


def _check_profile(profile: QueueProfile, version: str) -> None:
    major = int(version.split(".", maxsplit=1)[0])
    fits = major >= 4 if profile is QueueProfile.RMQ4 else major == 3
    if not fits:
        wanted = QueueProfile.RMQ4 if major >= 4 else QueueProfile.RMQ3
        raise ConfigurationError(
            f"TILECHORD_QUEUE_PROFILE must be {wanted} for RabbitMQ {version}, got {profile}"
        )
