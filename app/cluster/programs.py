"""tilechord's own processes of the cluster: workers and Flower."""

from __future__ import annotations

import base64
import os
import sys
import urllib.request
from pathlib import Path

import app
from app.cluster.ports import LOOPBACK
from app.cluster.servers import client_env
from app.cluster.service import Service, Site

# `celery -A app` finds the package in the working directory.
_ROOT = Path(app.__file__).resolve().parent.parent
_TILECHORD = str(Path(sys.executable).with_name("tilechord"))
FLOWER_USER = "tilechord"


def worker(site: Site, name: str, *, pool: str, threads: int) -> Service:
    """A worker on the queue of *pool* that may use *threads* CPU threads for arithmetic."""
    port = site.ports[f"{name}-metrics"]
    return Service(
        name=name,
        argv=worker_command(name, pool=pool, metrics_port=port),
        env=program_env(site) | {"TILECHORD_THREADS": str(threads)},
        folder=_ROOT,
        ports={"metrics": port},
        # A worker serves its metrics once it consumes.
        is_ready=lambda: _answers(f"http://{LOOPBACK}:{port}/metrics"),
        start_limit_s=120.0,  # importing torch takes 10 s on a cold disk, several at once longer
        # A warm shutdown finishes the running tile; what takes longer is redelivered anyway.
        grace_s=30.0,
    )


def worker_command(name: str, *, pool: str, metrics_port: int) -> tuple[str, ...]:
    options = {"--queues": pool, "--name": name, "--metrics-port": str(metrics_port)}
    return (_TILECHORD, "worker", *(part for option in options.items() for part in option))


def flower(site: Site) -> Service:
    """Flower behind a login, on loopback."""
    port = site.ports["flower"]
    login = f"{FLOWER_USER}:{site.secrets.flower}"
    command = (sys.executable, "-m", "celery", "-A", "app", "flower")
    return Service(
        name="flower",
        argv=(*command, f"--address={LOOPBACK}", f"--port={port}"),
        # The password as a variable: every user of the machine can read arguments.
        env=program_env(site) | {"FLOWER_BASIC_AUTH": login},
        folder=_ROOT,
        ports={"http": port},
        start_limit_s=120.0,  # as the workers: all of them start at once and share the cores
        is_ready=lambda: _answers(f"http://{LOOPBACK}:{port}/", login=login),
    )


def queue_metrics(site: Site) -> Service:
    """The queues' depth for Prometheus, by their tilechord names."""
    port = site.ports["queues"]
    return Service(
        name="queues",
        argv=(sys.executable, "-m", "app.telemetry", f"--port={port}"),
        env=program_env(site),
        folder=_ROOT,
        ports={"metrics": port},
        is_ready=lambda: _answers(f"http://{LOOPBACK}:{port}/metrics"),
    )


def program_env(site: Site) -> dict[str, str]:
    """This process's environment with the cluster's addresses in place of its own."""
    return {**os.environ, **client_env(site), "PYTHONUNBUFFERED": "1"}


def _answers(url: str, *, login: str = "") -> bool:
    request = urllib.request.Request(url)
    if login:
        encoded = base64.b64encode(login.encode()).decode()
        request.add_header("Authorization", f"Basic {encoded}")
    # No proxy: one in the environment must not see loopback addresses.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False
