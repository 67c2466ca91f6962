import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from app.cluster.process import Process, identify, is_running, start, stop
from app.domain.errors import ConfigurationError

SLEEP = ("sleep", "300")
DEAF = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, 1); print(1); time.sleep(300)",
)
# A child in a session of its own, as Erlang's port server is.
PARENT = (
    sys.executable,
    "-c",
    "import subprocess, time; "
    "print(subprocess.Popen(['sleep', '300'], start_new_session=True).pid, flush=True); "
    "time.sleep(300)",
)


@pytest.fixture
def launch(tmp_path):
    """Start a command; whatever is left of it at the end is killed by its own id."""
    started = []

    def run(argv, **env) -> Process:
        process = start(argv, env=env, folder=tmp_path, log=tmp_path / "logs/out.log")
        started.append(process)
        return process

    yield run
    for process in started:
        if is_running(process):
            os.kill(process.pid, signal.SIGKILL)


def wait_for_log(tmp_path) -> str:
    log = tmp_path / "logs/out.log"
    deadline = time.monotonic() + 20
    while not log.read_text().endswith("\n") and time.monotonic() < deadline:
        time.sleep(0.02)
    return log.read_text()


def test_a_started_process_is_recognised(launch):
    process = launch(SLEEP)

    assert is_running(process)
    assert identify(process.pid) == process


def test_it_leads_a_session_of_its_own(launch):
    assert os.getsid(launch(SLEEP).pid) != os.getsid(0)


def test_it_sees_only_the_environment_it_is_given(launch, tmp_path):
    launch(("/usr/bin/env",), ONLY="this")

    assert wait_for_log(tmp_path) == "ONLY=this\n"


def test_its_log_is_private(launch, tmp_path):
    launch(SLEEP)

    assert (tmp_path / "logs/out.log").stat().st_mode & 0o777 == 0o600


def test_stop_ends_it_and_its_exit_status_is_collected(launch):
    process = launch(SLEEP)

    stop({process: 5.0})

    assert not is_running(process)
    deadline = time.monotonic() + 5
    while os.path.exists(f"/proc/{process.pid}") and time.monotonic() < deadline:  # noqa: PTH110
        time.sleep(0.02)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_process_deaf_to_sigterm_is_killed_after_its_grace(launch, tmp_path):
    process = launch(DEAF, PYTHONUNBUFFERED="1")
    wait_for_log(tmp_path)

    began = time.monotonic()
    stop({process: 0.3})

    assert not is_running(process)
    assert time.monotonic() - began >= 0.3


def test_a_short_grace_is_not_stretched_by_a_long_one(launch, tmp_path):
    deaf, prompt = launch(DEAF, PYTHONUNBUFFERED="1"), launch(SLEEP)
    wait_for_log(tmp_path)

    began = time.monotonic()
    stop({deaf: 0.2, prompt: 60.0})

    assert not is_running(deaf)
    assert time.monotonic() - began < 30


def test_children_in_sessions_of_their_own_end_too(launch, tmp_path):
    parent = launch(PARENT)
    child = identify(int(wait_for_log(tmp_path)))
    assert child is not None

    stop({parent: 5.0})

    assert not is_running(parent)
    assert not is_running(child)


def test_a_process_id_that_was_given_to_another_process_is_left_alone():
    stranger = subprocess.Popen(SLEEP)
    try:
        found = identify(stranger.pid)
        recorded = replace(found, started=found.started[:-1] + "x")

        stop({recorded: 0.1})

        assert stranger.poll() is None
        assert not is_running(recorded)
    finally:
        stranger.kill()
        stranger.wait()


def test_a_process_of_an_earlier_boot_is_not_running():
    here = identify(os.getpid())
    ticks = here.started.partition("/")[2]

    assert not is_running(Process(os.getpid(), f"another-boot/{ticks}"))


def test_a_process_that_has_ended_is_nobody(launch):
    process = launch(SLEEP)
    os.kill(process.pid, signal.SIGKILL)

    deadline = time.monotonic() + 5
    while is_running(process) and time.monotonic() < deadline:
        time.sleep(0.02)

    assert identify(process.pid) is None
    stop({process: 0.1})


def test_a_zombie_is_not_running():
    child = subprocess.Popen(["true"])
    deadline = time.monotonic() + 5
    while identify(child.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)

    assert identify(child.pid) is None
    child.wait()


def test_a_program_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigurationError) as refused:
        start(("/no/program",), env={}, folder=tmp_path, log=tmp_path / "log")

    assert str(refused.value) == "/no/program cannot be started: No such file or directory"
