"""Reading the records that decide what is kept, of which some may be damaged or refused."""

from __future__ import annotations

import json
import logging
import re

from app.domain.errors import (
    ConfigurationError,
    NotFoundError,
    RenderError,
    StorageUnavailableError,
)
from app.storage.port import BlobStore

log = logging.getLogger(__name__)

_REFUSED = (StorageUnavailableError, ConfigurationError)
_MOST_REFUSED = 8
"""Each may take as long as the store is given to answer. With more the store itself is away, and
cleaning waits for its next turn."""
_HASH = re.compile(r"[0-9a-z]+")


class Records:
    """Remembers what could not be read: whoever is named there is in doubt."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._unread: set[str] = set()
        self._refused = 0

    def begin(self) -> None:
        """Try everything anew, as each survey does."""
        self._unread.clear()
        self._refused = 0

    def is_unread(self, key: str) -> bool:
        """Whether there is such a record, and nobody can tell what it says."""
        return key in self._unread

    def read(self, key: str) -> bytes | None:
        """The record; ``None`` where there is none, or it is unread."""
        if key in self._unread:
            return None
        try:
            return self._store.get(key)
        except NotFoundError:
            return None
        except RenderError as err:
            self._miss(key, err)
            self._refused += isinstance(err, _REFUSED)
            if self._refused > _MOST_REFUSED:
                raise
            return None

    def plan_hash(self, key: str) -> str | None:
        """The plan that the record names."""
        if (data := self.read(key)) is None:
            return None
        try:
            match json.loads(data):
                case {"plan_hash": str(name)} if _HASH.fullmatch(name):
                    return name
            raise ValueError("it names no plan")
        except ValueError as err:
            self._miss(key, err)
            return None

    def _miss(self, key: str, error: Exception) -> None:
        self._unread.add(key)
        log.warning("record.unread", extra={"key": key, "reason": str(error)})
