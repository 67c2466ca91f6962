"""Forked processes are to tests what started ones are."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.forked import ROOT, Forked, nursery
from tests.support.waiting import wait_for


def run(code):
    return Forked(["-c", code], env=os.environ)


def test_it_has_its_arguments_environment_folder_and_streams(tmp_path):
    code = "import os, sys; print(sys.argv, os.environ); sys.exit(os.getcwd())"
    env = {"ONLY": "this"}

    process = Forked(["-c", code, "there"], env=env, cwd=tmp_path)

    told = (f"['-c', 'there'] environ({env})\n", f"{tmp_path}\n")
    assert process.communicate(timeout=60) == told
    assert process.returncode == 1


def test_a_module_is_run_as_the_interpreter_does():
    process = Forked(["-m", "calendar", "2026", "11"], env=os.environ)

    assert process.communicate(timeout=60)[0].startswith("   November 2026\n")
    assert process.returncode == 0


def test_it_has_imported_torch_and_read_no_settings():
    process = run("import sys; print('torch' in sys.modules, 'app.celery' in sys.modules)")

    assert process.communicate(timeout=60)[0] == "True False\n"


def test_an_exception_is_told_and_its_exit_code_is_one():
    process = run("import atexit; atexit.register(print, 'at exit'); raise ValueError('why')")

    out, err = process.communicate(timeout=60)

    assert out == "at exit\n"
    assert err.endswith("ValueError: why\n")
    assert process.returncode == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_signal_ends_it(number):
    process = run("import time; time.sleep(60)")
    assert process.poll() is None

    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)
    process.send_signal(number)

    assert process.wait(60) == -number
    process.kill()  # of one that has ended: nothing


def test_a_shell_can_start_one_and_stop_it():
    code = "import sys, time; print(sys.stdin.readline(), flush=True); time.sleep(60)"
    command = [sys.executable, "-m", "tests.support.forked", str(nursery()), "-c", code]
    shim = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert shim.stdin
    assert shim.stdout
    shim.stdin.write(b"what was typed\n")
    shim.stdin.flush()
    assert shim.stdout.readline() == b"what was typed\n"

    shim.terminate()

    assert shim.wait(60) == 128 + signal.SIGTERM


def test_those_whose_owner_is_killed_end():
    code = (
        "import os, time\n"
        "from tests.support.forked import Forked\n"
        "print(Forked(['-c', 'import time; time.sleep(60)'], env=os.environ).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    assert owner.stdout
    child = int(owner.stdout.readline())

    owner.kill()
    owner.wait()

    wait_for(lambda: not Path(f"/proc/{child}").exists())
