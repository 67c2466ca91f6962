"""Servers for one measurement, which end with it, and what its host left to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.cluster import servers
from app.cluster.lifecycle import bring_up, take_down
from app.cluster.local import server_tiers
from app.cluster.ports import Ports
from app.cluster.service import Site, open_site


@contextmanager
def servers_in(folder: Path) -> Iterator[Site]:
    """RabbitMQ, Redis and S3 on ports of their own, their data below *folder*."""
    site = open_site(folder / "site", Ports())
    bring_up(site.folder, server_tiers(site), site.ports.known, lambda _: None)
    try:
        yield site
    finally:
        take_down(site.folder, lambda _: None)


def tiny_env(site: Site, models: Path) -> dict[str, str]:
    """What clients and workers of *site* need to use the model ``tiny`` in *models*."""
    return servers.client_env(site) | {
        "TILECHORD_MODELS_PATH": str(models),
        "TILECHORD_MODEL": "tiny",
    }


class Steal:
    """Share of this machine's processor time that its host has given to others since it was made.

    As Linux tells it: ``steal``, the eighth of the first line of /proc/stat.
    """

    def __init__(self) -> None:
        self._begin = self._ticks()

    @property
    def share(self) -> float:
        passed = [now - before for now, before in zip(self._ticks(), self._begin, strict=True)]
        return passed[7] / max(1, sum(passed))

    @staticmethod
    def _ticks() -> list[int]:
        first, *_ = Path("/proc/stat").read_text().splitlines()
        return [int(ticks) for ticks in first.split()[1:9]]
