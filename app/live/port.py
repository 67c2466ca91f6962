"""The port: a board that every process of an installation sees.

Truth is the store. What is here makes scheduling quick and progress visible: who is alive, what
was just finished, when a job will be done. An empty board is a valid one at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

Record = dict[str, object]
"""JSON values alone."""

KEPT_EVENTS = 10_000
"""Events that wait for a listener; what is older can be read from the store."""


class LiveBoard(Protocol):
    """Events for the one who listens, records for all who look, leases for who acts.

    Every method raises ``BrokerUnavailableError`` when the board does not answer in time.
    """

    def tell(self, event: Mapping[str, object]) -> None:
        """Append *event* for the listener; the oldest are dropped when nobody listens."""

    def listen(self, timeout_s: float) -> list[Record]:
        """Take every event that is there, oldest first; wait up to *timeout_s* for the first."""

    def show(self, topic: str, name: str, record: Mapping[str, object], *, ttl_s: float) -> None:
        """Show *record* under *topic* and *name* until *ttl_s* have passed."""

    def shown(self, topic: str) -> dict[str, Record]:
        """Records of *topic* by name, each with ``age_s``, its age by the board's own clock."""

    def hide(self, topic: str, name: str) -> None:
        """Take a record away; nothing happens when it is not there."""

    def lease(self, name: str, owner: str, *, ttl_s: float) -> bool:
        """Whether *owner* holds *name* for *ttl_s* from now; renews what it holds already."""

    def release(self, name: str, owner: str) -> None:
        """Give *name* back if *owner* holds it."""
