"""Dead letters: messages no worker could handle, and units that workers died of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from amqp.exceptions import AMQPError, NotFound
from kombu import Connection, Message
from kombu.exceptions import KombuError
from pydantic import ValidationError

from app import client
from app.attempts import DeadUnit, Quarantine, attempts_prefix
from app.bootstrap import Runtime
from app.domain.errors import ConfigurationError, NotFoundError
from app.domain.work import unit_name
from app.jobs import JobState
from app.queues import DEAD_QUEUE, broker_error, connect, dead_queue
from app.schemas import WorkMessage
from app.settings import Settings
from app.workflow import ADVANCE, FINISH, MERGE, RENDER, WORKER_TASKS

_KNOWN_TASKS = {RENDER, ADVANCE, MERGE, FINISH, *WORKER_TASKS.values()}
_DEATH_HEADERS = ("x-death", "x-delivery-count", "x-first-death", "x-last-death")
_KEPT_PROPERTIES = {"correlation_id", "reply_to", "priority", "delivery_mode", "timestamp"}
_ID_CHARS = 12


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead message, one dead unit, or a dead unit with its message."""

    id: str
    reason: str
    task: str | None = None
    job_id: str | None = None
    work: WorkMessage | None = None
    queue: str | None = None
    """Where the message was when it died."""
    at_s: float | None = None
    """When, in seconds since the epoch."""
    unit: DeadUnit | None = None
    message: Message | None = None

    @property
    def label(self) -> str | None:
        """What a person calls the unit."""
        if self.unit is not None:
            return self.unit.label
        return self.work.work.label if self.work is not None else None


class DeadLetters:
    """The dead letters of an installation while they are held; the rest sees none of them."""

    def __init__(self, app: Runtime, messages: list[Message]) -> None:
        self._app = app
        self._quarantine = Quarantine(app.store)
        self._letters = list(self._read(messages))

    def all(self) -> list[Letter]:
        """Every letter, oldest first."""
        return sorted(self._letters, key=lambda letter: letter.at_s or 0.0)

    def find(self, name: str) -> list[Letter]:
        """The letters with this id, or of this job. Raises ``NotFoundError`` when there is none."""
        found = [letter for letter in self.all() if name in (letter.id, letter.job_id)]
        if not found:
            raise NotFoundError(f"dead letter {name} is not known")
        return found

    def requeue(self, name: str) -> list[Letter]:
        """Give letters another chance; who died of their units is forgotten.

        The message of a planned job is not sent again itself: the job is sent on, and with it
        whatever units it lacks. Any other goes back to the queue it came from.
        """
        found = self.find(name)
        for letter in found:
            self._forget(letter)
        jobs = {letter.job_id for letter in found if self._can_go_on(letter)}
        for letter in found:
            if letter.job_id not in jobs and letter.message is not None:
                _send_back(letter.message)
        for job_id in sorted(job_id for job_id in jobs if job_id is not None):
            client.resume(job_id)
        self._remove(found)
        return found

    def drop(self, name: str) -> list[Letter]:
        """Remove letters for good; their jobs stay as they are."""
        found = self.find(name)
        self._remove(found)
        return found

    def _remove(self, letters: list[Letter]) -> None:
        for letter in letters:
            if letter.unit is not None:
                self._quarantine.remove(letter.unit)
            if letter.message is not None:
                letter.message.ack()

    def _forget(self, letter: Letter) -> None:
        if letter.unit is not None:
            self._quarantine.forget(attempts_prefix(letter.unit.plan_hash, letter.unit.unit))
        elif letter.work is not None and self._is_planned(letter.job_id):
            plan = self._app.ledger.plan(letter.work.job_id)
            unit = unit_name(plan, letter.work.work)
            self._quarantine.forget(attempts_prefix(plan.hash, unit))

    def _can_go_on(self, letter: Letter) -> bool:
        """Whether the job is there to be sent on; one whose planning was deadly has no plan."""
        job_id, ledger = letter.job_id, self._app.ledger
        if job_id is None or not (self._is_planned(job_id) or self._is_plan(letter)):
            return False
        return ledger.status(job_id).state is not JobState.SUCCEEDED

    def _is_plan(self, letter: Letter) -> bool:
        is_ordered = letter.job_id is not None and self._app.ledger.has_request(letter.job_id)
        return is_ordered and letter.unit is not None and letter.message is None

    def _is_planned(self, job_id: str | None) -> bool:
        return job_id is not None and self._app.ledger.has_plan(job_id)

    def _read(self, messages: list[Message]) -> Iterator[Letter]:
        units = {(unit.job_id, unit.label): unit for unit in self._quarantine.all()}
        for message in messages:
            letter = _letter(message, units)
            if letter.unit is not None:
                units.pop((letter.unit.job_id, letter.unit.label), None)
            yield letter
        for unit in units.values():  # their messages were lost, or there is no broker
            name = hashlib.sha256(f"{unit.job_id}/{unit.unit}".encode()).hexdigest()[:_ID_CHARS]
            yield Letter(name, unit.reason, job_id=unit.job_id, at_s=unit.at_s, unit=unit)


@contextmanager
def opened(app: Runtime) -> Iterator[DeadLetters]:
    """The dead letters, held until the block ends; what was not removed goes back unchanged.

    Raises ``BrokerUnavailableError`` or ``ConfigurationError`` when they cannot be read.
    """
    with ExitStack() as stack:
        if app.settings.is_embedded:
            yield DeadLetters(app, [])
            return
        messages = stack.enter_context(_taken(app.settings))
        yield DeadLetters(app, messages)


@contextmanager
def _taken(chosen: Settings) -> Iterator[list[Message]]:
    """All messages of the dead-letter queue, unacknowledged."""
    url, limit_s = chosen.broker_url.get_secret_value(), chosen.broker_timeout_s
    options = {"confirm_publish": True, "read_timeout": limit_s, "write_timeout": limit_s}
    try:
        with Connection(url, connect_timeout=limit_s, transport_options=options) as connection:
            connect(connection)
            messages = list(_take_all(connection.default_channel))
            try:
                yield messages
            finally:
                for message in messages:
                    if not message.acknowledged:
                        message.requeue()
    except (KombuError, AMQPError, OSError) as err:
        raise broker_error(url, err) from err


def _take_all(channel: Any) -> Iterator[Message]:
    dead_queue()(channel).declare()
    # Raw: what nobody can decode is here, too.
    while (raw := channel.basic_get(DEAD_QUEUE)) is not None:
        yield channel.message_to_python(raw)


def _letter(message: Message, units: dict[tuple[str, str], DeadUnit]) -> Letter:
    headers = message.headers or {}
    death = _death(message)
    task, job_id, work = _addressee(message)
    unit = units.get((work.job_id, work.work.label)) if work is not None else None
    digest = hashlib.sha256(_body(message)).hexdigest()
    return Letter(
        id=str(headers.get("id") or digest[:_ID_CHARS]),
        reason=unit.reason if unit is not None else _reason(death, task),
        task=task,
        job_id=job_id,
        work=work,
        queue=death.get("queue"),
        at_s=_seconds(death.get("time")),
        unit=unit,
        message=message,
    )


def _addressee(message: Message) -> tuple[str | None, str | None, WorkMessage | None]:
    """Task, job and unit of *message*; ``None`` for each that it does not tell."""
    task = (message.headers or {}).get("task")
    try:
        _, arguments, _ = json.loads(_body(message))
    except (ValueError, TypeError):
        return task, None, None
    if task == RENDER:  # the task's id is the job's
        return task, str(message.headers["id"]), None
    try:
        work = WorkMessage.model_validate(arguments["message"])
    except (ValidationError, KeyError, TypeError):
        job_id = arguments.get("job_id") if isinstance(arguments, dict) else None
        return task, job_id, None
    return task, work.job_id, work


def _reason(death: dict[str, Any], task: str | None) -> str:
    if death.get("reason") == "delivery_limit":
        return "it was delivered more often than TILECHORD_DELIVERY_LIMIT and never acknowledged"
    if death.get("reason", "rejected") != "rejected":
        return f"the broker gave it up: {death['reason']}"
    if task is None:
        return "no worker can read it"
    return "a worker refused it" if task in _KNOWN_TASKS else f"no worker knows task {task}"


def _send_back(message: Message) -> None:
    """Publish *message* to the queue it died in; ``ConfigurationError`` when that is gone."""
    headers, channel = dict(message.headers or {}), cast("Any", message.channel)
    queue, connection = _death(message).get("queue"), channel.connection.client
    try:
        with connection.channel() as asking:  # a refusal closes its channel
            asking.queue_declare(queue or "", passive=True)
    except NotFound as err:
        raise ConfigurationError(f"queue {queue}, where the dead letter was, is gone") from err
    connection.Producer(channel).publish(
        _body(message),
        exchange="",
        routing_key=queue,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers={k: v for k, v in headers.items() if not k.startswith(_DEATH_HEADERS)},
        **{k: v for k, v in message.properties.items() if k in _KEPT_PROPERTIES},
    )


def _death(message: Message) -> dict[str, Any]:
    """What RabbitMQ wrote about the message's last death."""
    deaths: Any = (message.headers or {}).get("x-death")
    return dict(deaths[0]) if deaths else {}


def _body(message: Message) -> bytes:
    body: Any = message.body
    return body.encode() if isinstance(body, str) else bytes(body)


def _seconds(moment: object) -> float | None:
    if not isinstance(moment, datetime):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
