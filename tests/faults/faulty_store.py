"""An HTTP front before an S3 server: errors, lost answers, truncated bodies, at seeded rates.

Requests pass unchanged, ``Host`` included, so that what the client signed for the front's address
is valid behind it. Which request suffers is a function of the seed, the request and how often it
has been made: the same run meets the same faults, in whatever order its threads ask.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

from tests.faults.proxy import call

_HEAD_LIMIT = 65536
_NO_BODY = {204, 304}


@dataclass(frozen=True)
class Rates:
    """How many of the requests suffer, each between 0 and 1."""

    error_500: float = 0.0
    error_503: float = 0.0
    lost_answer: float = 0.0
    """The server does what it is asked, the client hears nothing."""
    truncated: float = 0.0
    """Half of a body arrives, then the connection ends."""
    slow: float = 0.0
    slow_s: float = 1.0
    silence_s: float = 0.0
    """How long a lost answer keeps the client waiting before the connection ends."""

    def fault(self, draw: float, method: str) -> str | None:
        """The fault at *draw*, uniform in ``[0, 1)``."""
        shares = {
            "error_500": self.error_500,
            "error_503": self.error_503,
            "lost_answer": self.lost_answer,
            "truncated": self.truncated if method == "GET" else 0.0,
            "slow": self.slow,
        }
        for name, share in shares.items():
            if draw < share:
                return name
            draw -= share
        return None


@dataclass
class _Message:
    """One HTTP request or answer."""

    start: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> bytes:
        return next((value for key, value in self.headers if key.lower() == name), b"")

    def encode(self) -> bytes:
        lines = [self.start, *(b"%s: %s" % pair for pair in self.headers), b"", b""]
        return b"\r\n".join(lines) + self.body


@dataclass
class _Backend:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class FaultyStore:
    """A front on ``127.0.0.1:port`` before *target*; healthy until it is given ``rates``."""

    def __init__(self, target: tuple[str, int], *, seed: int = 0) -> None:
        self._target = target
        self._seed = seed
        self._times: Counter[str] = Counter()
        self.rates = Rates()
        self.done: Counter[str] = Counter()
        """Faults so far, by name."""
        self._server: asyncio.Server = call(self._listen())
        self.port = int(self._server.sockets[0].getsockname()[1])

    def heal(self) -> None:
        self.rates = Rates()

    def close(self) -> None:
        call(self._stop())

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_HEAD_LIMIT)

    async def _stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        backend: _Backend | None = None
        try:
            while request := await _read(reader):
                backend = backend or _Backend(*await asyncio.open_connection(*self._target))
                if not await self._answer(request, backend, writer):
                    break
        except (OSError, asyncio.IncompleteReadError, ValueError):
            pass  # either side went away: the other one sees its connection end
        finally:
            for each in (writer, backend.writer if backend else None):
                if each is not None:
                    with suppress(OSError):
                        each.close()

    async def _answer(
        self, request: _Message, backend: _Backend, client: asyncio.StreamWriter
    ) -> bool:
        """Pass *request* on; False when the connection must end."""
        method, path = (part.decode() for part in request.start.split(b" ")[:2])
        fault = self.rates.fault(self._draw(method, path), method)
        if fault:
            self.done[fault] += 1
        match fault:
            case "error_500" | "error_503":
                client.write(_error(int(fault[-3:]), method))
                await client.drain()
                return True
            case "slow":
                await asyncio.sleep(self.rates.slow_s)
        backend.writer.write(request.encode())
        answer = await _read(backend.reader, method)
        if answer is None:
            return False
        return await self._pass_back(answer, fault, client)

    async def _pass_back(
        self, answer: _Message, fault: str | None, client: asyncio.StreamWriter
    ) -> bool:
        if fault == "lost_answer":
            await asyncio.sleep(self.rates.silence_s)
            return False
        if fault == "truncated":
            answer.body = answer.body[: len(answer.body) // 2]
        client.write(answer.encode())
        await client.drain()
        return fault != "truncated" and answer.header(b"connection").lower() != b"close"

    def _draw(self, method: str, path: str) -> float:
        name = f"{method} {path.partition('?')[0]}"
        self._times[name] += 1
        text = f"{self._seed}:{name}:{self._times[name]}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2**56


def _error(status: int, method: str) -> bytes:
    code = {500: "InternalError", 503: "SlowDown"}[status]
    body = f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
    headers = [(b"Content-Type", b"application/xml"), (b"Content-Length", b"%d" % len(body))]
    start = b"HTTP/1.1 %d injected" % status
    return _Message(start, headers, b"" if method == "HEAD" else body).encode()


async def _read(reader: asyncio.StreamReader, answer_to: str | None = None) -> _Message | None:
    """The next message, None when the other side has ended; *answer_to* names a method."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as err:
        if err.partial:
            raise
        return None
    start, *lines = head[:-4].split(b"\r\n")
    headers = [(key, value.strip()) for key, _, value in (line.partition(b":") for line in lines)]
    message = _Message(start, headers, b"")
    status = int(start.split(b" ")[1]) if answer_to else 0
    if answer_to == "HEAD" or status in _NO_BODY:
        return message
    message.body = await _read_body(reader, message, is_answer=answer_to is not None)
    return message


async def _read_body(reader: asyncio.StreamReader, message: _Message, *, is_answer: bool) -> bytes:
    """The body as it was sent: a chunked one with its chunks' sizes."""
    if message.header(b"transfer-encoding").lower() == b"chunked":
        pieces = []
        while True:
            line = await reader.readuntil(b"\r\n")
            piece = await reader.readexactly(int(line.split(b";")[0], 16) + 2)
            pieces += [line, piece]
            if piece == b"\r\n":
                return b"".join(pieces)
    length = message.header(b"content-length")
    if length:
        return await reader.readexactly(int(length))
    return await reader.read() if is_answer else b""
