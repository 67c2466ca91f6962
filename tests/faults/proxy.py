"""A TCP proxy that misbehaves on order: latency, resets, silence, half-open links, lost answers.

Nothing about the protocol is known here, so that one proxy serves RabbitMQ, Redis and S3 alike.
All proxies of a process share one event loop in one thread; every method may be called from any
thread and returns when the loop has acted.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any

_CHUNK_BYTES = 65536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing sends RST, not FIN
_CALL_LIMIT_S = 10.0


class Way(StrEnum):
    """A direction, as the client sees it."""

    UP = "up"
    DOWN = "down"


@dataclass
class Weather:
    """What the links of a proxy suffer now; the default is a good network."""

    latency_s: float = 0.0
    slice_bytes: int = _CHUNK_BYTES
    bytes_per_s: float = 0.0
    """0 means unlimited."""
    is_refusing: bool = False
    silent: set[Way] = field(default_factory=set)


class _Link:
    """One connection: a client, the server, and what has gone wrong between them."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.writers = {Way.UP: server, Way.DOWN: client}
        self.answers_left: int | None = None
        """Bytes of the server that still arrive; the rest is lost. None: all of them."""
        self.is_cut = False

    def close(self, *, hard: bool) -> None:
        for writer in self.writers.values():
            _close(writer, hard=hard)


class Proxy:
    """Forwards ``127.0.0.1:port`` to *target* until told otherwise.

    The port is that of *listener*, which may belong to another network namespace than *target*.
    """

    def __init__(self, target: tuple[str, int], listener: socket.socket | None = None) -> None:
        self._target = target
        self._listener = listener or socket.create_server(("127.0.0.1", 0))
        self._links: set[_Link] = set()
        self._open: dict[Way, asyncio.Event] = {}
        self.weather = Weather()
        self._server: asyncio.Server = call(self._listen())
        self.port = int(self._server.sockets[0].getsockname()[1])

    @property
    def links(self) -> int:
        """Connections that are open now."""
        return len(self._links)

    def slow(
        self, *, latency_s: float = 0.0, bytes_per_s: float = 0.0, slice_bytes: int = 0
    ) -> None:
        """Delay every chunk, limit the rate, cut what is sent into small pieces."""
        self.weather.latency_s = latency_s
        self.weather.bytes_per_s = bytes_per_s
        self.weather.slice_bytes = slice_bytes or _CHUNK_BYTES

    def reset(self) -> int:
        """Reset every connection, as a rebooted router does; returns how many there were."""
        return int(call(self._drop_all(hard=True)))

    def refuse(self) -> None:
        """Reset every connection and each new one."""
        self.weather.is_refusing = True
        self.reset()

    def blackhole(self, *ways: Way) -> None:
        """Hold back everything in *ways*, in both by default; it arrives after ``heal``."""
        call(self._set_silent(set(ways) or set(Way)))

    def half_open(self) -> int:
        """The server loses every connection and the clients do not notice; new ones work."""
        return int(call(self._cut_servers()))

    def lose_answers(self, after_bytes: int = 0) -> None:
        """Swallow what servers send on the connections of now, once *after_bytes* have passed."""
        call(self._lose(after_bytes))

    def heal(self) -> None:
        """A good network again; connections that lost bytes are reset, as they cannot go on."""
        call(self._heal())

    def close(self) -> None:
        call(self._stop())

    async def _listen(self) -> asyncio.Server:
        self._open = {way: asyncio.Event() for way in Way}
        for gate in self._open.values():
            gate.set()
        return await asyncio.start_server(self._accept, sock=self._listener)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.weather.is_refusing:
                raise ConnectionRefusedError
            await self._open[Way.UP].wait()
            answers, server = await asyncio.open_connection(*self._target)
        except OSError:
            _close(writer, hard=True)
            return
        link = _Link(writer, server)
        self._links.add(link)
        pumps = [
            asyncio.create_task(self._pump(link, Way.UP, reader)),
            asyncio.create_task(self._pump(link, Way.DOWN, answers)),
        ]
        await asyncio.wait(pumps)
        link.close(hard=False)
        self._links.discard(link)

    async def _pump(self, link: _Link, way: Way, source: asyncio.StreamReader) -> None:
        """Carry bytes until the source ends, then end the other side, unless it must not know."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while data := await source.read(_CHUNK_BYTES):
                await self._carry(link, way, data)
        if link.is_cut:
            return
        _close(link.writers[way], hard=False)

    async def _carry(self, link: _Link, way: Way, data: bytes) -> None:
        weather = self.weather
        if weather.latency_s:
            await asyncio.sleep(weather.latency_s)
        for start in range(0, len(data), weather.slice_bytes):
            piece = data[start : start + weather.slice_bytes]
            await self._open[way].wait()
            if weather.bytes_per_s:
                await asyncio.sleep(len(piece) / weather.bytes_per_s)
            if way is Way.DOWN and link.answers_left is not None:
                piece = piece[: link.answers_left]
                link.answers_left -= len(piece)
            if piece and not (link.is_cut and way is Way.UP):
                link.writers[way].write(piece)
                await link.writers[way].drain()

    async def _drop_all(self, *, hard: bool) -> int:
        links = list(self._links)
        for link in links:
            link.close(hard=hard)
        return len(links)

    async def _set_silent(self, ways: set[Way]) -> None:
        self.weather.silent = ways
        for way, gate in self._open.items():
            gate.clear() if way in ways else gate.set()

    async def _cut_servers(self) -> int:
        links = list(self._links)
        for link in links:
            link.is_cut = True
            _close(link.writers[Way.UP], hard=True)
        return len(links)

    async def _lose(self, after_bytes: int) -> None:
        for link in self._links:
            link.answers_left = after_bytes

    async def _heal(self) -> None:
        self.weather = Weather()
        await self._set_silent(set())
        for link in list(self._links):
            if link.is_cut or link.answers_left is not None:
                link.close(hard=True)

    async def _stop(self) -> None:
        self._server.close()
        await self._set_silent(set())
        await self._drop_all(hard=True)


def _close(writer: asyncio.StreamWriter, *, hard: bool) -> None:
    with suppress(OSError):
        if hard:
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        else:
            writer.close()


@cache
def loop() -> asyncio.AbstractEventLoop:
    """The event loop of this process's proxies and fronts, in a thread of its own."""
    found = asyncio.new_event_loop()
    threading.Thread(target=found.run_forever, name="faults-net", daemon=True).start()
    return found


def call(step: Coroutine[Any, Any, Any]) -> Any:
    """Run *step* on the loop and wait for what it returns."""
    return asyncio.run_coroutine_threadsafe(step, loop()).result(_CALL_LIMIT_S)
