"""A worker ends with the autoscaler that started it: real processes, one of them killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.cluster.process import identify
from app.parents import PARENT, end_with_parent
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
ROOT = Path(__file__).parents[2]

# What `tilechord worker` becomes: drains when it is told to.
WORKER = """
import os, pathlib, signal, sys, time
def drain(number, frame):
    pathlib.Path("drained").write_text(str(number))
    sys.exit(0)
signal.signal(signal.SIGTERM, drain)
pathlib.Path("new").write_text(f"{os.getpid()} {os.environ.get('TILECHORD_PARENT_PID')}")
pathlib.Path("new").rename("ready")
time.sleep(60)
"""
# The command itself, but for the servers that it would ask.
COMMAND = f"""#!{sys.executable}
import os, sys
from app.cli import serving, workers
serving.check = lambda pools: []
serving.replace_process = lambda *_: os.execv(sys.executable, [sys.executable, "-c", {WORKER!r}])
workers.worker(queues="gpu", device=None, name="w", metrics_port=None)
"""
AUTOSCALER = """
import sys, time
from app.autoscale import worker_starter
sys.executable = "./command"
worker_starter("gpu", None)("w")
time.sleep(60)
"""


@pytest.fixture
def autoscaler(tmp_path):
    """A process that has started a worker, in *tmp_path*."""
    (tmp_path / "command").write_text(COMMAND)
    (tmp_path / "command").chmod(0o700)
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", AUTOSCALER], cwd=tmp_path, env=env)
    yield process
    process.kill()
    process.wait()


def test_a_worker_drains_when_its_autoscaler_is_killed(autoscaler, tmp_path):
    wait_for((tmp_path / "ready").exists, limit_s=30)
    pid, told_on = (tmp_path / "ready").read_text().split()
    worker = identify(int(pid))

    autoscaler.send_signal(signal.SIGKILL)

    wait_for(lambda: identify(int(pid)) != worker, limit_s=10)
    assert (tmp_path / "drained").read_text() == str(int(signal.SIGTERM))
    assert told_on == "None"


def test_a_worker_whose_autoscaler_ended_before_it_looked_ends_too():
    code = "from app.parents import end_with_parent; end_with_parent(); print('stayed')"
    env = os.environ | {"PYTHONPATH": str(ROOT), PARENT: "1"}

    ended = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=False)

    assert (ended.returncode, ended.stdout) == (-signal.SIGTERM, b"")


def test_a_worker_that_a_person_started_ends_with_nobody(monkeypatch):
    monkeypatch.delenv(PARENT, raising=False)
    monkeypatch.setattr("app.parents.ctypes", None)

    end_with_parent()
