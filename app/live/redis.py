"""The board that all processes of a cluster see, in Redis.

One list of events, one hash per topic, one key per lease. Whatever depends on time is computed
by the server, in one step: a worker whose clock is an hour off is neither lost nor immortal.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kombu import Connection
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from app.domain.errors import BrokerUnavailableError
from app.live.port import KEPT_EVENTS, Record

_NOW = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""
# A record is "shown-at until JSON", in milliseconds of the server. The hash lives as long as
# its last record, so that a topic nobody reads does not stay for ever.
_SHOW = f"""{_NOW}
local ttl = tonumber(ARGV[2])
local times = string.format('%.0f %.0f ', now, now + ttl)
redis.call('HSET', KEYS[1], ARGV[1], times .. ARGV[3])
if redis.call('PTTL', KEYS[1]) < ttl then redis.call('PEXPIRE', KEYS[1], ttl) end
"""
_SHOWN = f"""{_NOW}
local found = {{string.format('%.0f', now)}}
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
    local till = string.match(entries[i + 1], '^%d+ (%d+) ')
    if tonumber(till) <= now then
        redis.call('HDEL', KEYS[1], entries[i])
    else
        table.insert(found, entries[i])
        table.insert(found, entries[i + 1])
    end
end
return found
"""
_LEASE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""


class RedisBoard:
    """A ``LiveBoard`` in Redis, under *prefix*; nothing is contacted before its first use."""

    def __init__(self, url: str, *, prefix: str, timeout_s: float, kept: int = KEPT_EVENTS) -> None:
        self._place = Connection(url).as_uri()
        self._prefix = prefix
        self._timeout_s = timeout_s
        self._kept = kept
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # Once, at once: the first use of a connection after a restart of the server fails.
            retry=Retry(NoBackoff(), 1),
            decode_responses=True,
        )
        self._show = self._redis.register_script(_SHOW)
        self._shown = self._redis.register_script(_SHOWN)
        self._lease = self._redis.register_script(_LEASE)
        self._release = self._redis.register_script(_RELEASE)

    def tell(self, event: Mapping[str, object]) -> None:
        with self._answering(), self._redis.pipeline() as step:
            step.rpush(self._events, json.dumps(event))
            step.ltrim(self._events, -self._kept, -1)
            step.execute()

    def listen(self, timeout_s: float) -> list[Record]:
        with self._answering():
            first = self._wait(timeout_s) if timeout_s > 0 else []
            with self._redis.pipeline() as step:
                step.lrange(self._events, 0, -1)
                step.delete(self._events)
                rest, _ = step.execute()
        return [json.loads(text) for text in [*first, *rest]]

    def show(self, topic: str, name: str, record: Mapping[str, object], *, ttl_s: float) -> None:
        with self._answering():
            self._show(
                keys=[self._topic(topic)], args=[name, _milliseconds(ttl_s), json.dumps(record)]
            )

    def shown(self, topic: str) -> dict[str, Record]:
        with self._answering():
            now_ms, *entries = _texts(self._shown(keys=[self._topic(topic)]))
        names, texts = entries[::2], entries[1::2]
        return {name: _record(text, int(now_ms)) for name, text in zip(names, texts, strict=True)}

    def hide(self, topic: str, name: str) -> None:
        with self._answering():
            self._redis.hdel(self._topic(topic), name)

    def lease(self, name: str, owner: str, *, ttl_s: float) -> bool:
        with self._answering():
            held = self._lease(keys=[self._held(name)], args=[owner, _milliseconds(ttl_s)])
        return bool(held)

    def release(self, name: str, owner: str) -> None:
        with self._answering():
            self._release(keys=[self._held(name)], args=[owner])

    def close(self) -> None:
        """Give the connections back; the next use opens new ones."""
        self._redis.close()

    def _wait(self, timeout_s: float) -> list[str]:
        """The first event, when one comes in time.

        In parts: the server's answer that nothing came must not be later than a socket waits.
        """
        end_s = time.monotonic() + timeout_s
        while (left_s := end_s - time.monotonic()) > 0:
            part_s = max(min(left_s, self._timeout_s / 2), 0.01)  # 0 would be for ever
            found: Any = self._redis.blpop([self._events], timeout=part_s)
            if found:
                return [str(found[1])]
        return []

    @property
    def _events(self) -> str:
        return f"{self._prefix}events"

    def _topic(self, topic: str) -> str:
        return f"{self._prefix}shown:{topic}"

    def _held(self, name: str) -> str:
        return f"{self._prefix}lease:{name}"

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Raises what Redis raises as ``BrokerUnavailableError``."""
        try:
            yield
        except RedisError as err:
            raise BrokerUnavailableError(
                f"live board {self._place} does not answer ({type(err).__name__})"
            ) from err


def _texts(answer: Any) -> list[str]:
    return [str(part) for part in answer]


def _record(entry: str, now_ms: int) -> Record:
    since_ms, _, text = entry.split(" ", maxsplit=2)
    record: Record = json.loads(text)
    # The server's own clock may be set back.
    return record | {"age_s": max(now_ms - int(since_ms), 0) / 1000}


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
