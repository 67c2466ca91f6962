"""What it takes to run one process of the cluster, and where the cluster lives."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from app.cluster.ports import Ports


@dataclass(frozen=True, slots=True)
class Service:
    """One process: how to start it, how to see that it works, how long it may take to end."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    """The whole environment, nothing is inherited."""
    folder: Path
    ports: dict[str, int]
    """Every port it listens on, by purpose."""
    is_ready: Callable[[], bool]
    start_limit_s: float = 60.0
    grace_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Secrets:
    """Passwords of one cluster, random, made once: RabbitMQ keeps its own in its database."""

    broker: str = field(default_factory=lambda: secrets.token_hex(16))
    redis: str = field(default_factory=lambda: secrets.token_hex(16))
    s3_access: str = field(default_factory=lambda: secrets.token_hex(10))
    s3_secret: str = field(default_factory=lambda: secrets.token_hex(20))
    flower: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True, slots=True)
class Site:
    """One cluster's folder, ports and passwords."""

    folder: Path
    ports: Ports
    secrets: Secrets

    def home(self, service: str) -> Path:
        """The folder of *service*, made if need be; only its owner can look inside."""
        path = self.folder / "data" / service
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path


def open_site(folder: Path, ports: Ports) -> Site:
    """The cluster in *folder*, with the passwords it has or new ones."""
    folder = folder.absolute()
    path = folder / "secrets.json"
    if path.exists():
        return Site(folder, ports, Secrets(**json.loads(path.read_text())))
    site = Site(folder, ports, Secrets())
    write_private(path, json.dumps(asdict(site.secrets)))
    return site


def write_private(path: Path, text: str) -> None:
    """Replace *path* in one step by a file that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)
