"""Private servers for tests, started when the first test asks and stopped by process id."""

from __future__ import annotations

import gc
import os
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
import redis

from app.cluster import packages, servers
from app.cluster.lifecycle import bring_up, take_down
from app.cluster.ports import Ports
from app.cluster.service import Service, Site, open_site

# Set before torch is imported: on a shared core its threads wait for each other, and a test of
# three seconds has taken a minute.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# These machines are shared: a deadline would measure the neighbours.
hypothesis.settings.register_profile("tilechord", deadline=None, max_examples=50)
hypothesis.settings.load_profile("tilechord")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with servers first: they are long, and one process would end with them alone."""
    items.sort(key=lambda item: item.get_closest_marker("integration") is None)


def pytest_collection_finish() -> None:
    """What was imported is never garbage: collections look only at what tests make."""
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class RabbitmqNode:
    """A running RabbitMQ of this test session."""

    site: Site
    url: str
    metrics_url: str

    def ctl(self, *arguments: str) -> str:
        """Run ``rabbitmqctl`` against this node and return what it prints."""
        command, env = servers.rabbitmqctl(self.site, *arguments)
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def new_vhost(self) -> str:
        """URL of a fresh virtual host."""
        vhost = f"test-{secrets.token_hex(4)}"
        self.ctl("add_vhost", vhost)
        self.ctl("set_permissions", "-p", vhost, servers.USER, ".*", ".*", ".*")
        return servers.broker_url(self.site, vhost)


@dataclass(frozen=True)
class Services:
    """All three servers, and the ``TILECHORD_*`` variables by which a process finds them."""

    rabbitmq: RabbitmqNode
    redis_url: str
    env: dict[str, str]

    def new_installation(self, **env: str) -> dict[str, str]:
        """*env*, and variables of a virtual host and a store prefix that nobody else uses.

        Both: dispatchers that share a store would send each other's work.
        """
        store_url = f"{self.env['TILECHORD_STORE_URL']}/{secrets.token_hex(4)}"
        return {
            "TILECHORD_BROKER_URL": self.rabbitmq.new_vhost(),
            "TILECHORD_STORE_URL": store_url,
            **env,
        }


@pytest.fixture(scope="session")
def cluster_site(tmp_path_factory) -> Site:
    """Ports and passwords that all servers of this session share."""
    packages.require()
    return open_site(tmp_path_factory.mktemp("cluster"), Ports())


@pytest.fixture(scope="session")
def rabbitmq(cluster_site) -> Iterator[RabbitmqNode]:
    tiers = [[servers.epmd(cluster_site)], [servers.rabbitmq(cluster_site)]]
    metrics_url = f"http://127.0.0.1:{cluster_site.ports['amqp-metrics']}/metrics"
    for _ in _running(cluster_site, "broker", tiers):
        yield RabbitmqNode(cluster_site, servers.broker_url(cluster_site), metrics_url)


@pytest.fixture(scope="session")
def redis_server(cluster_site) -> Iterator[str]:
    """URL of a running Redis with a password."""
    for _ in _running(cluster_site, "results", [[servers.redis_server(cluster_site)]]):
        yield servers.redis_url(cluster_site)


@pytest.fixture(scope="session")
def s3_server(cluster_site) -> Iterator[dict[str, str]]:
    """``TILECHORD_STORE_URL`` and ``TILECHORD_S3_*`` of a running S3 server."""
    for _ in _running(cluster_site, "blobs", [[servers.s3_server(cluster_site)]]):
        found = servers.client_env(cluster_site)
        yield {name: value for name, value in found.items() if "_S3_" in name or "STORE" in name}


@pytest.fixture(scope="session")
def services(cluster_site, rabbitmq, redis_server, s3_server) -> Services:
    del s3_server  # only has to run
    return Services(rabbitmq, redis_server, servers.client_env(cluster_site))


@pytest.fixture
def broker_url(rabbitmq) -> str:
    """A virtual host of the test's own: no queue or message of another test."""
    return rabbitmq.new_vhost()


@pytest.fixture
def redis_url(redis_server) -> str:
    """Redis, emptied."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server


@pytest.fixture
def s3_env(s3_server) -> dict[str, str]:
    """The S3 server with a bucket prefix of the test's own."""
    store_url = f"{s3_server['TILECHORD_STORE_URL']}/{secrets.token_hex(4)}"
    return s3_server | {"TILECHORD_STORE_URL": store_url}


def _running(site: Site, name: str, tiers: Sequence[Sequence[Service]]) -> Iterator[None]:
    """Run *tiers*, recorded in a folder of their own so that each part ends by itself."""
    folder: Path = site.folder / name
    bring_up(folder, tiers, site.ports.known, print)
    try:
        yield
    finally:
        take_down(folder, print)
