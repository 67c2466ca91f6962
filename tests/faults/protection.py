"""A protection against faults, as it is taken away and missed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """One change of the code; *old* stands once in the file."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Protection:
    """A protection, the edits that take it away, and the tests that fail then."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...] = ()
    soak: str = ""
    """Arguments of a directed soak that accuses somebody then."""


def protection(name: str, path: str, old: str, new: str, *tests: str, soak: str = "") -> Protection:
    return Protection(name, (Edit(path, old, new),), tests, soak)
