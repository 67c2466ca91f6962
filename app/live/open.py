"""Which board an installation has."""

from __future__ import annotations

from functools import cache

from kombu.utils.url import parse_url

from app.live.memory import MemoryBoard
from app.live.port import LiveBoard
from app.live.redis import RedisBoard
from app.settings import Settings


def open_board(chosen: Settings) -> LiveBoard:
    """The board of *chosen*; nothing is contacted before its first use.

    It is in the Redis that holds the results. Without one it is this process's own, which is
    right in embedded mode; elsewhere ``check_results`` refuses such a backend before any work.
    """
    url = chosen.result_backend.get_secret_value()
    if chosen.is_embedded or url.partition(":")[0] not in {"redis", "rediss"}:
        return _own_board()
    return RedisBoard(url, prefix=_prefix(chosen), timeout_s=chosen.broker_timeout_s)


def _prefix(chosen: Settings) -> str:
    """Installations may share a Redis; what they never share is a virtual host of the broker."""
    first = chosen.broker_url.get_secret_value().split(";")[0]
    return f"tilechord:{parse_url(first)['virtual_host'] or '/'}:"


@cache
def _own_board() -> MemoryBoard:
    """One per process, however often it is opened."""
    return MemoryBoard()
