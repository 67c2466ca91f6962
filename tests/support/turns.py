"""Two clients of one store, whose steps come in an order that a test chooses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from app.storage.memory import MemoryStore

_LIMIT_S = 30.0
_STEPS = {"put", "get", "exists", "keys", "delete"}


class Turns:
    """Whose step is next: *first* takes some, *second* takes some, *first* ends, *second* ends."""

    def __init__(self, first: int, second: int) -> None:
        self._left = [first, second]
        self._ended = [False, False]
        self._changed = threading.Condition()

    def is_next(self, me: int) -> bool:
        other = 1 - me
        if self._ended[other]:
            return True
        if self._left[0]:
            return me == 0
        return me == 1 if self._left[1] else me == 0

    def step(self, me: int, act: Callable[[], Any]) -> Any:
        """What *act* returns, once it is *me* whose turn it is."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.is_next(me), _LIMIT_S)
            try:
                return act()
            finally:
                self._left[me] = max(0, self._left[me] - 1)
                self._changed.notify_all()

    def end(self, me: int) -> None:
        with self._changed:
            self._left[me], self._ended[me] = 0, True
            self._changed.notify_all()


class TurnStore:
    """The *store*, as the client *me* sees it."""

    def __init__(self, store: MemoryStore, turns: Turns, me: int) -> None:
        self._store, self._turns, self._me = store, turns, me

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in _STEPS:
            return method
        return lambda *arguments: self._turns.step(self._me, lambda: method(*arguments))


Client = Callable[[TurnStore], object]


def interleave(store: MemoryStore, turns: Turns, clients: tuple[Client, Client]) -> None:
    """Run both *clients* on *store*, step by step as *turns* say; raises what one of them does."""
    errors: list[BaseException] = []

    def run(me: int) -> None:
        try:
            clients[me](TurnStore(store, turns, me))
        except BaseException as err:  # told by the test's own thread
            errors.append(err)
        finally:
            turns.end(me)

    threads = [threading.Thread(target=run, args=(me,)) for me in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_LIMIT_S)
    if errors:
        raise errors[0]
