import base64
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from app.queues import check_broker
from tests.support.cluster import Cluster, running

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parent.parent.parent
LOGIN = "tester:secret-of-the-test"
REQUEST = {"prompt": "a lake", "width": 128, "height": 96, "seed": 1}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(url, login=""):
    request = urllib.request.Request(url)
    if login:
        encoded = base64.b64encode(login.encode()).decode()
        request.add_header("Authorization", f"Basic {encoded}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as response:
        return response.read().decode()


def wait_for(ask, limit_s=60):
    """The first true answer of *ask*; a server that does not answer yet is asked again."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            if found := ask():
                return found
        except OSError:
            pass
        time.sleep(0.3)
    raise TimeoutError(f"no answer in {limit_s} s")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts a program that ends with the module."""
    started = []

    def run(*command, **env):
        log = (tmp_path_factory.mktemp("log") / "log").open("wb")
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **env}, stdout=log, stderr=log
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def control(services, cluster_env, tmp_path_factory):
    """A control worker on a virtual host of its own: the depths are those of this module."""
    env = cluster_env | services.new_installation()
    env |= {"TILECHORD_METRICS_PORT": str(free_port())}
    with running(Cluster(env, tmp_path_factory.mktemp("control")), {"control": "control"}) as found:
        yield found


@pytest.fixture(scope="module")
def cluster(control, tmp_path_factory):
    """A rendering worker with a metrics endpoint that has rendered one picture."""
    env = control.env | {"TILECHORD_METRICS_PORT": str(free_port())}
    with running(Cluster(env, tmp_path_factory.mktemp("gpu")), {"gpu-1": "gpu"}) as found:
        check_broker(found.runtime.settings)  # as `tilechord worker` does: declares all queues
        found.client("render", REQUEST)
        yield found


@pytest.fixture(scope="module")
def query(control, cluster, services, start, tmp_path_factory):
    """Answers PromQL from a Prometheus that scrapes worker, queue exporter and broker."""
    program = shutil.which("prometheus")
    assert program, "prometheus is missing, run: make system"
    exporter, server = free_port(), free_port()
    start(sys.executable, "-m", "app.telemetry", "--port", str(exporter), **cluster.env)
    folder = tmp_path_factory.mktemp("prometheus")
    endpoints = {
        "control": f"http://127.0.0.1:{control.env['TILECHORD_METRICS_PORT']}/metrics",
        "worker": f"http://127.0.0.1:{cluster.env['TILECHORD_METRICS_PORT']}/metrics",
        "queues": f"http://127.0.0.1:{exporter}/metrics",
        "rabbitmq": f"{services.rabbitmq.metrics_url}/per-object",
    }
    addresses = {name: urllib.parse.urlsplit(url) for name, url in endpoints.items()}
    jobs = [
        {
            "job_name": name,
            "metrics_path": address.path,
            "static_configs": [{"targets": [address.netloc]}],
        }
        for name, address in addresses.items()
    ]
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(json.dumps(config))
    start(
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{server}",
    )

    def ask(expression):
        text = urllib.parse.quote(expression)
        answer = json.loads(fetch(f"http://127.0.0.1:{server}/api/v1/query?query={text}"))
        return [(entry["metric"], float(entry["value"][1])) for entry in answer["data"]["result"]]

    wait_for(lambda: len(ask("up == 1")) == len(endpoints))
    return ask


def test_prometheus_tells_tiles_done_and_seconds_per_tile(query, cluster):
    done = wait_for(lambda: query('tilechord_units_done_total{stage="tile"}'))
    seconds = query(
        'tilechord_unit_duration_seconds_sum{stage="tile"}'
        ' / tilechord_unit_duration_seconds_count{stage="tile"}'
    )

    [(labels, count)] = done
    assert (labels["model"], labels["device"]) == (cluster.env["TILECHORD_MODEL"], "cpu")
    assert count >= 1
    assert 0 < seconds[0][1] < 60


def test_prometheus_tells_how_long_work_waited(query):
    waits = 'tilechord_time_in_queue_seconds_{}{{queue="render.gpu.v1", priority="normal"}}'

    count = wait_for(lambda: query(waits.format("count")))[0][1]
    seconds = query(waits.format("sum"))[0][1]

    assert count >= 3  # base, prepare and at least one tile
    assert 0 < seconds / count < 120


def test_prometheus_tells_what_a_round_costs(query):
    count = wait_for(lambda: query("tilechord_round_latency_seconds_count > 0"))[0][1]
    seconds = query("tilechord_round_latency_seconds_sum > 0")[0][1]

    assert count >= 1  # the core waited for the tiles
    assert 0 < seconds / count < 60


def test_prometheus_names_the_worker(query):
    [(labels, _)] = wait_for(lambda: query('tilechord_worker_info{job="worker"}'))

    assert labels["worker"].startswith("gpu-1@")


def test_prometheus_tells_the_memory_of_a_rendering_workers_device_alone(query):
    [(labels, total)] = wait_for(lambda: query("tilechord_device_memory_bytes"))
    [(_, free)] = query("tilechord_device_memory_free_bytes")

    assert (labels["job"], labels["device"]) == ("worker", "cpu")
    assert labels["device_name"]
    assert 0 < free <= total
    assert query("tilechord_device_temperature_celsius") == []  # of a CPU nobody tells it


def test_prometheus_tells_failures_by_stage_and_reason(query, cluster):
    cluster.runtime.store.put("inputs/no-picture.png", b"this is no picture")
    cluster.client("submit", REQUEST | {"init_image": "inputs/no-picture.png"})

    found = wait_for(lambda: query('tilechord_failures_total{stage="prepare"}'))

    assert [(labels["reason"], count) for labels, count in found] == [("InvalidRequestError", 1)]


def test_prometheus_tells_depth_age_and_consumers_of_every_queue(query, cluster, control):
    control.stop("control")
    cluster.client("submit", REQUEST | {"seed": 7})

    waiting = 'tilechord_queue_messages_ready{queue="render.control.v1"} > 0'
    depth = wait_for(lambda: query(waiting))
    vhost = cluster.env["TILECHORD_BROKER_URL"].rpartition("/")[2]
    head = f'rabbitmq_queue_head_message_timestamp{{queue="render.control.v1", vhost="{vhost}"}}'
    age_s = wait_for(lambda: query(f"time() - {head} > 0"))[0][1]
    ready = {labels["queue"] for labels, _ in query("tilechord_queue_messages_ready")}
    consumers = {labels["queue"]: n for labels, n in query("tilechord_queue_consumers")}
    control.start_all({"control": "control"})

    assert depth[0][1] == 1
    assert age_s < 120
    assert ready == {"render.control.v1", "render.gpu.v1", "render.dead.v1"}
    assert consumers["render.gpu.v1"] == 1
    assert query("tilechord_broker_up")[0][1] == 1


def test_flower_lists_workers_and_tasks_by_name_after_a_login(cluster, start):
    port = free_port()
    start(
        *(sys.executable, "-m", "celery", "-A", "app", "flower"),
        *("--address=127.0.0.1", f"--port={port}"),
        **(cluster.env | {"FLOWER_BASIC_AUTH": LOGIN}),
    )
    api = f"http://127.0.0.1:{port}/api"
    seeds = itertools.count(2)

    def names():
        """Of the tasks it has seen: Flower asks for them when it has run for five seconds."""
        cluster.client("render", REQUEST | {"seed": next(seeds)})
        return {task["name"] for task in json.loads(fetch(f"{api}/tasks", LOGIN)).values()}

    workers = wait_for(lambda: json.loads(fetch(f"{api}/workers?refresh=1", LOGIN)))
    wait_for(lambda: "workers.tasks.tile" in names(), limit_s=60)
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetch(f"{api}/workers")

    assert any(name.startswith("gpu-1@") for name in workers)
    assert refused.value.code == 401
