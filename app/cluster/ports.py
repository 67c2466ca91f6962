"""Loopback ports by name."""

from __future__ import annotations

import random
import socket

from app.domain.errors import ConfigurationError

LOOPBACK = "127.0.0.1"
# Far from the servers' own defaults (5672, 6379, 8333), so that an installed one is not in the
# way, and below the range from which Linux takes the ports of outgoing connections (32768).
DEFAULT_BASE = 17600
_FREE_RANGE = range(20000, 32000)


class Ports:
    """Gives each name a port and keeps it: consecutive ones from *base*, or any free ones."""

    def __init__(self, known: dict[str, int] | None = None, *, base: int | None = None) -> None:
        self.known = dict(known or {})
        self._base = base
        self._held: list[socket.socket] = []

    def __getitem__(self, name: str) -> int:
        if name not in self.known:
            self.known[name] = self._next()
        return self.known[name]

    def _next(self) -> int:
        taken = set(self.known.values())
        if self._base is not None:
            return next(port for port in range(self._base, 65536) if port not in taken)
        # At random: two that start together should not try the same ports one after the other.
        candidates = random.sample(_FREE_RANGE, len(_FREE_RANGE))
        for port in candidates:
            if port not in taken and self._hold(port):
                return port
        first, last = _FREE_RANGE[0], _FREE_RANGE[-1]
        raise ConfigurationError(f"no port from {first} to {last} is free for a new server")

    def _hold(self, port: int) -> bool:
        """Keep *port* from everybody else's choice, or say that somebody has it.

        A server may come minutes after its port was chosen. Until then a socket that is bound
        and does not listen keeps it: who asks for the port alone is refused, while a server,
        which shares it (SO_REUSEADDR), is not.
        """
        held = socket.socket()
        try:
            held.bind((LOOPBACK, port))
        except OSError:
            held.close()
            return False
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.append(held)
        return True


def is_free(port: int) -> bool:
    """Whether a server could listen on *port* now."""
    with socket.socket() as probe:
        # As servers do; without it a port closed a minute ago would still count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def is_listening(port: int) -> bool:
    """Whether something accepts connections on *port*."""
    with socket.socket() as client:
        client.settimeout(1.0)
        return client.connect_ex((LOOPBACK, port)) == 0


def require_free(service: str, ports: dict[str, int]) -> None:
    """Raises ``ConfigurationError`` naming the first of *ports* that another program holds."""
    for name, port in ports.items():
        if not is_free(port):
            raise ConfigurationError(
                f"port {port} ({name} of {service}) must be free, another program listens "
                "there; choose others with --port-base"
            )
