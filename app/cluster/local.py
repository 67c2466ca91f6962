"""The local cluster as a whole: which services, in which order, and what a client must know."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from app.cluster import packages, programs, servers
from app.cluster import state as states
from app.cluster.lifecycle import Say, bring_up, take_down
from app.cluster.ports import LOOPBACK, Ports
from app.cluster.service import Service, Site, open_site, write_private

DEFAULT_FOLDER = Path(".tilechord/cluster")
_METRICS_PATHS = {"rabbitmq": "/metrics/per-object"}  # its "/metrics" adds all queues up


def up(folder: Path, *, workers: int, port_base: int | None, say: Say) -> Site:
    """Bring up the servers, a control worker, *workers* GPU workers and Flower in *folder*.

    A cluster that runs keeps its ports; a new one takes consecutive ones from *port_base*,
    or free ones when that is None.
    """
    packages.require()
    folder = folder.absolute()
    known = states.load(folder).ports
    site = open_site(folder, Ports(known, base=port_base))
    tiers = [*server_tiers(site), *program_tiers(site, workers)]
    bring_up(folder, tiers, site.ports.known, say)
    write_env(site)
    write_targets(site, workers)
    return site


def down(folder: Path, say: Say) -> None:
    """End what ``up`` started; queues, results and pictures stay on the disk."""
    folder = folder.absolute()
    take_down(folder, say)
    # Nobody answers at these addresses any more; passwords stay in secrets.json.
    env_path(folder).unlink(missing_ok=True)
    _targets_path(folder).unlink(missing_ok=True)


def server_tiers(site: Site) -> list[Sequence[Service]]:
    return [
        [servers.epmd(site)],
        [servers.rabbitmq(site), servers.redis_server(site), servers.s3_server(site)],
    ]


def program_tiers(site: Site, workers: int) -> list[Sequence[Service]]:
    threads = max(1, (os.cpu_count() or 1) // max(1, workers))
    gpu = [
        programs.worker(site, name, pool="gpu", threads=threads) for name in worker_names(workers)
    ]
    control = programs.worker(site, "control", pool="control", threads=1)
    return [
        [control, *gpu, programs.queue_metrics(site)],
        [programs.flower(site)],  # asks the workers who they are once, when it starts
    ]


def worker_names(workers: int) -> list[str]:
    return [f"w{number}" for number in range(1, workers + 1)]


def env_path(folder: Path) -> Path:
    return folder / "env"


def write_env(site: Site) -> None:
    """Write the variables a client needs, for ``set -a; . <file>`` and for ``read_env``."""
    variables = servers.client_env(site) | {
        "TILECHORD_FLOWER_URL": f"http://{LOOPBACK}:{site.ports['flower']}",
        "TILECHORD_FLOWER_USER": programs.FLOWER_USER,
        "TILECHORD_FLOWER_PASSWORD": site.secrets.flower,
    }
    lines = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    write_private(env_path(site.folder), "\n".join(lines) + "\n")


def read_env(folder: Path) -> dict[str, str]:
    """The variables of the cluster in *folder*; none unless it is up."""
    try:
        lines = env_path(folder).read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines)
    return {name: "".join(shlex.split(value)) for name, _, value in pairs}


def write_targets(site: Site, workers: int) -> None:
    """Write the metrics endpoints in the form of Prometheus' ``file_sd_configs``."""
    groups = {
        "rabbitmq": ["amqp-metrics"],
        "queues": ["queues"],
        "workers": [f"{name}-metrics" for name in ("control", *worker_names(workers))],
        "flower": ["flower"],
    }
    targets = [
        {
            "labels": {"job": job, "__metrics_path__": _METRICS_PATHS.get(job, "/metrics")},
            "targets": [f"{LOOPBACK}:{site.ports[name]}" for name in names],
        }
        for job, names in groups.items()
    ]
    write_private(_targets_path(site.folder), json.dumps(targets, indent=1) + "\n")


def _targets_path(folder: Path) -> Path:
    return folder / "targets.json"
