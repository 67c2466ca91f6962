"""What lies in this worker's model folders, as its node shows it."""

from __future__ import annotations

import json
import logging
import threading
import time

from app.cards import Catalogue, Kind
from app.domain.errors import PermanentError
from app.own_node import OwnNode

log = logging.getLogger(__name__)
PERIOD_S = 60.0
"""Who has put a model into a folder waits so long until it is known to those who order."""
MOST_CHARS = 2000
"""Of the names of one kind: every worker shows them again with each heartbeat."""

Installed = dict[str, dict[str, float]]
"""Kind, name, GB that its card asks for."""


class Inventory:
    """Looks into the folders now and then, beside the heartbeat: they may be on a network."""

    def __init__(self, node: OwnNode, catalogue: Catalogue, period_s: float = PERIOD_S) -> None:
        self._node = node
        self._catalogue = catalogue
        self._period_s = period_s

    def start(self) -> None:
        threading.Thread(target=self._run, name="tilechord-inventory", daemon=True).start()

    def _run(self) -> None:
        while not self._node.is_draining:
            self.look()
            time.sleep(self._period_s)

    def look(self) -> None:
        """Show what is found now; what cannot be read is not told, and so refuses no order."""
        found: Installed = {}
        try:
            found = read_installed(self._catalogue)
        except OSError as err:
            log.info("models.unread", extra={"reason": str(err)})
        except Exception:  # a model nobody has foreseen must not leave an old list for ever
            log.exception("models.unread")
        self._node.describe_installed(found)


def read_installed(catalogue: Catalogue) -> Installed:
    """All that is in the folders; a kind with too many names for a heartbeat is left out."""
    found = {str(kind): _asked_gb(catalogue, kind) for kind in Kind}
    return {kind: names for kind, names in found.items() if len(json.dumps(names)) <= MOST_CHARS}


def _asked_gb(catalogue: Catalogue, kind: Kind) -> dict[str, float]:
    names = catalogue.names(kind)
    if kind is not Kind.MODEL:
        return dict.fromkeys(names, 0.0)
    return {name: _card_gb(catalogue, name) for name in names}


def _card_gb(catalogue: Catalogue, model: str) -> float:
    """What is wrong with a model is told better by whoever plans with it, or loads it."""
    try:
        return catalogue.card(model).memory_gb
    except PermanentError:
        return 0.0
