"""Which units were begun again after their blob had been confirmed by the store.

No margin in seconds is needed. What counts is when a worker *looked* whether the unit is done: who
looked before the blob was confirmed has a copy in flight, however late it begins; who looked
afterwards could have known. A blob whose confirmation was lost is nobody's proof, and neither is
one that was, or may have been, taken away between its confirmation and the look. A worker may take
away what is damaged, which excuses it where a fault hurt a blob of that image before. All times are
of the clock that never goes back, which the processes of a machine share.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from tests.faults.history import Event

_HURT = {"blob-deleted", "blob-rotten"}
_IMAGE = re.compile(r".*/image-\d+/")


@dataclass
class _Tale:
    """What the history tells of one key."""

    stored: list[Event] = field(default_factory=list)
    """In order of their time."""
    gone: list[tuple[float, float]] = field(default_factory=list)
    """From and until when something may have taken the blob away."""


def begun_again(events: Iterable[Event]) -> list[str]:
    """What is accused, one text a start."""
    timed = sorted((event for event in events if "at_s" in event), key=itemgetter("at_s"))
    tales = _tales(timed)
    looks: dict[tuple[object, ...], Event] = {}
    found = []
    for event in timed:
        if event["event"] == "look":
            looks |= dict.fromkeys(_subjects(event), event)
        elif event["event"] in ("start", "join") and "key" in event:
            look = _look_of(event, looks)
            if (stored := _proof(tales[event["key"]], look)) is not None:
                found.append(_told(event, look, stored))
    return found


def _tales(events: Sequence[Event]) -> defaultdict[str, _Tale]:
    tales: defaultdict[str, _Tale] = defaultdict(_Tale)
    hurt = [event for event in events if event["event"] == "fault" and event["name"] in _HURT]
    ended = {_deed(event): event["at_s"] for event in events if event["event"] == "removed"}
    for event in events:
        if event["event"] == "stored":
            tales[event["key"]].stored.append(event)
        elif event["event"] == "removing":
            until_s = ended.get(_deed(event), math.inf)  # its answer may have been lost
            image = _image_of(event["key"])
            if any(_image_of(one["key"]) == image and one["began_s"] <= until_s for one in hurt):
                tales[event["key"]].gone.append((event["began_s"], until_s))
    for event in hurt:
        if event["name"] == "blob-deleted":
            tales[event["key"]].gone.append((event["began_s"], event["at_s"]))
    return tales


def _deed(removal: Event) -> tuple[object, ...]:
    return removal["node"], removal["pid"], removal["key"], removal["began_s"]


def _image_of(key: str) -> str:
    found = _IMAGE.match(key)
    return found.group() if found else key


def _subjects(look: Event) -> Iterator[tuple[object, ...]]:
    """What was looked at and by whom; a rendering worker looks and renders in several threads."""
    process = look["node"], look["pid"]
    if "image" in look:
        yield *process, look["thread"], look["image"]
    for key in look.get("keys", ()):
        yield *process, key


def _look_of(begin: Event, looks: dict[tuple[object, ...], Event]) -> Event:
    """The look that *begin* relies on; who has not looked could have, when it began."""
    process, key = (begin["node"], begin["pid"]), begin["key"]
    subject = (*process, key)
    if begin["event"] == "join":
        subject = (*process, begin["thread"], _image_of(key))
    return looks.get(subject, begin)


def _proof(tale: _Tale, look: Event) -> Event | None:
    """The confirmation that *look* must have seen."""
    began_s = look.get("began_s", look["at_s"])
    before = bisect_right(tale.stored, began_s, key=itemgetter("at_s"))
    if not before:
        return None
    stored = tale.stored[before - 1]
    since_s = stored["began_s"]
    if any(from_s <= look["at_s"] and until_s >= since_s for from_s, until_s in tale.gone):
        return None
    return stored


def _told(begin: Event, look: Event, stored: Event) -> str:
    looked_s = look.get("began_s", look["at_s"]) - stored["at_s"]
    return (
        f"{begin['key']} by {begin['node']}, which looked {looked_s:.3f} s "
        f"after {stored['node']} had stored it"
    )
