"""The servers of one test, each of which can be killed, and every node's network to them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from app.cluster import packages, servers
from app.cluster.lifecycle import bring_up, take_down
from app.cluster.ports import LOOPBACK, Ports, is_free
from app.cluster.service import Service, Site, open_site
from app.cluster.state import load
from app.settings import Settings
from tests.faults.faulty_store import FaultyStore
from tests.faults.namespaces import ENTERED, Namespace
from tests.faults.proxy import Proxy
from tests.support.waiting import wait_for

_CTL_LIMIT_S = 90


@dataclass(frozen=True)
class Server:
    """One server, known by its process id."""

    service: Service
    folder: Path
    ports: Ports

    @property
    def pid(self) -> int:
        return load(self.folder).records[self.service.name].process.pid

    def start(self) -> None:
        """Start it unless it runs, and wait until it is ready."""
        bring_up(self.folder, [[self.service]], self.ports.known, lambda _: None)

    def kill(self) -> None:
        """End it at once, as a power failure does; its files stay."""
        record = load(self.folder).records[self.service.name]
        os.kill(record.process.pid, signal.SIGKILL)
        wait_for(lambda: not record.is_running and all(map(is_free, record.ports.values())))

    def wipe(self, *folders: str) -> None:
        """End it at once, and remove *folders* of what it keeps: started again it knows nothing."""
        self.kill()
        for folder in folders:
            shutil.rmtree(self.service.folder / folder)

    def stop(self) -> None:
        take_down(self.folder, lambda _: None)


@dataclass
class Link:
    """How one node reaches the servers: a proxy each."""

    broker: Proxy
    redis: Proxy
    s3: Proxy
    namespace: Namespace | None = None
    """In which the proxies listen, when it is not the host's."""

    @property
    def proxies(self) -> dict[str, Proxy]:
        return {"broker": self.broker, "redis": self.redis, "s3": self.s3}

    def close(self) -> None:
        if self.namespace:
            self.namespace.close()
        for proxy in self.proxies.values():
            proxy.close()


@dataclass
class Ground:
    """A site of its own: RabbitMQ, Redis, S3 behind a faulty front, and a link for every node."""

    folder: Path
    models: Path
    settings: dict[str, str] = field(default_factory=dict)
    """Further ``TILECHORD_*`` variables of every process."""
    seed: int = 0
    links: dict[str, Link] = field(default_factory=dict)

    def __enter__(self) -> Self:
        packages.require()
        self.site: Site = open_site(self.folder / "site", Ports())
        self.epmd = self._server(servers.epmd(self.site))
        self.broker = self._server(servers.rabbitmq(self.site))
        self.redis = self._server(servers.redis_server(self.site))
        self.s3 = self._server(servers.s3_server(self.site))
        try:
            for server in self._servers():
                server.start()
        except BaseException:
            self.__exit__()
            raise
        self.front = FaultyStore((LOOPBACK, self.site.ports["s3"]), seed=self.seed)
        return self

    def __exit__(self, *_: object) -> None:
        for link in self.links.values():
            link.close()
        for server in reversed(self._servers()):
            server.stop()

    def isolate(self, node: str) -> Namespace:
        """The network namespace in which the worker of *node* will be started."""
        namespace = Namespace()
        self.links[node] = self._link(namespace)
        return namespace

    def env(self, node: str) -> dict[str, str]:
        """Variables of *node*, which finds every server behind proxies of its own."""
        if node not in self.links:
            self.links[node] = self._link()
        link, direct = self.links[node], self.direct_env()
        inside = {ENTERED: link.namespace.path} if link.namespace else {}
        return (
            direct
            | inside
            | {
                "TILECHORD_BROKER_URL": _through(direct["TILECHORD_BROKER_URL"], link.broker.port),
                "TILECHORD_RESULT_BACKEND": _through(
                    direct["TILECHORD_RESULT_BACKEND"], link.redis.port
                ),
                "TILECHORD_S3_ENDPOINT": f"{LOOPBACK}:{link.s3.port}",
            }
        )

    def direct_env(self) -> dict[str, str]:
        """Variables of a process that no fault of the network or the front can reach."""
        return {
            **servers.client_env(self.site),
            "TILECHORD_MODELS_PATH": str(self.models),
            "TILECHORD_MODEL": "tiny",
            "TILECHORD_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            **self.settings,
        }

    def direct_settings(self) -> Settings:
        values = {
            name.removeprefix("TILECHORD_").lower(): json.loads(value)
            if value[:1] == "{"
            else value
            for name, value in self.direct_env().items()
            if name.startswith("TILECHORD_")
        }
        return Settings.model_validate(values)

    def ctl(self, *arguments: str) -> str:
        """Run ``rabbitmqctl`` and return what it prints."""
        command, env = servers.rabbitmqctl(self.site, *arguments)
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, check=False, timeout=_CTL_LIMIT_S
        )
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def messages(self) -> dict[str, int]:
        """Messages in every queue, by its name."""
        columns = ("--no-table-headers", "name", "messages")
        listed = self.ctl("list_queues", "--quiet", "--vhost", servers.VHOST, *columns)
        return {name: int(count) for name, count in map(str.split, listed.splitlines())}

    def _server(self, service: Service) -> Server:
        return Server(service, self.folder / "states" / service.name, self.site.ports)

    def _servers(self) -> list[Server]:
        return [self.epmd, self.broker, self.redis, self.s3]

    def _link(self, namespace: Namespace | None = None) -> Link:
        ports = self.site.ports
        broker, redis, s3 = (
            Proxy((LOOPBACK, port), namespace.listener() if namespace else None)
            for port in (ports["amqp"], ports["redis"], self.front.port)
        )
        return Link(broker, redis, s3, namespace)


def _through(url: str, port: int) -> str:
    """*url* with another port."""
    parts = urlsplit(url)
    netloc = f"{parts.netloc.rpartition(':')[0]}:{port}"
    return urlunsplit(parts._replace(netloc=netloc))
