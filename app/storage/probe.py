"""The start-up question to every store: does the first writer of a key really win?"""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from app.domain.errors import ConfigurationError
from app.storage.port import BlobStore

_WRITERS = 8


def probe_writes_once(store: BlobStore, *, name: str) -> None:
    """Race writers on one fresh key of *store*.

    Raises ``ConfigurationError`` unless exactly one of them won and its bytes are the ones
    read back: without that promise two workers could mix their tiles in one picture.
    """
    key = f"probe/{secrets.token_hex(8)}"
    start = Barrier(_WRITERS)

    def write(writer: int) -> bool:
        start.wait()
        return store.put(key, str(writer).encode())

    try:
        with ThreadPoolExecutor(_WRITERS) as pool:
            won = list(pool.map(write, range(_WRITERS)))
        if won.count(True) != 1:
            raise ConfigurationError(
                f"{name} must let exactly one of {_WRITERS} racing writers win, "
                f"got {won.count(True)} winners"
            )
        kept = store.get(key).decode()
        if kept != str(won.index(True)):
            raise ConfigurationError(
                f"{name} must keep the bytes of the winning writer {won.index(True)}, "
                f"got those of writer {kept}"
            )
    finally:
        store.delete(key)
