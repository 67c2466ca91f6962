"""Every place to die is reached by a real process, which dies there and nowhere else."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.storage.folder import FolderStore
from tests.faults.crash_points import (
    ARMED,
    ARMED_FILE,
    CONTROL_POINTS,
    WORKER_POINTS,
    both_sides,
)
from tests.faults.renderer import NODE, TRACE

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from pathlib import Path
from app.storage.folder import FolderStore
from tests.faults.crash_points import CrashingStore
store = CrashingStore(FolderStore(Path(sys.argv[1])))
for key in sys.argv[2:]:
    store.put(key, b"x")
    store.exists(key)
store.delete(sys.argv[2])
"""
KEYS = {
    "unit": "plans/0/image-0000/phase-0/tile-00001",
    "run": "runs/0/image-0000/phase-0/tile-00001/1.2.w1",
    "request": "jobs/a/request.json",
    "plan": "jobs/a/plan.json",
    "canvas": "plans/0/image-0000/canvas-1.json",
    "picture": "plans/0/image-0000/picture.png",
    "result": "jobs/a/result.json",
    "entry": "queue/a/accepted",
}


@pytest.fixture
def write(tmp_path):
    """Runs a process that writes keys, armed by its environment."""

    def run(*keys, **armed):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "store"), *keys]
        env = os.environ | {TRACE: str(tmp_path / "trace"), NODE: "w1"} | armed
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=False)

    return run


@pytest.fixture
def stored(tmp_path):
    return lambda: list(FolderStore(tmp_path / "store").keys(""))


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("kind", KEYS)
def test_a_process_dies_on_either_side_of_a_blob(kind, side, write, stored):
    done = write(KEYS[kind], **{ARMED: f"{side}-put-{kind}"})

    assert done.returncode == -signal.SIGKILL, done.stderr
    assert stored() == ([KEYS[kind]] if side == "after" else [])


def test_a_process_that_is_not_armed_lives(write):
    assert write(*KEYS.values()).returncode == 0


def test_a_turn_lets_earlier_ones_pass(write, stored):
    keys = [f"plans/0/image-0000/phase-0/tile-{number:05d}" for number in range(4)]

    done = write(*keys, **{ARMED: "before-put-unit:3"})

    assert done.returncode == -signal.SIGKILL
    assert stored() == keys[:2]


def test_taking_an_entry_away_is_a_place_to_die(write, stored):
    done = write(KEYS["entry"], **{ARMED: "before-delete-entry"})

    assert done.returncode == -signal.SIGKILL
    assert stored() == [KEYS["entry"]]


def test_a_file_arms_one_process_and_not_its_successor(write, tmp_path):
    armed = tmp_path / "armed"
    armed.write_text("after-put-plan:1")
    options = {ARMED_FILE: str(armed)}

    codes = [write(KEYS["plan"], **options).returncode for _ in range(2)]

    assert codes == [-signal.SIGKILL, 0]


def test_a_crash_is_told_to_the_history(write, tmp_path):
    write(KEYS["run"], **{ARMED: "after-put-run"})

    (line,) = (tmp_path / "trace").read_text().splitlines()

    told = json.loads(line)
    assert (told["event"], told["node"], told["point"]) == ("crash", "w1", "after-put-run")


def test_there_are_more_than_twelve_places():
    assert len({*WORKER_POINTS, *CONTROL_POINTS}) >= 24


def test_every_place_has_two_sides():
    assert both_sides(("ack",)) == ("before-ack", "after-ack")
