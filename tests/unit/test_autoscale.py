import os
import subprocess
import sys

import pytest

from app.autoscale import Autoscaler, worker_starter
from app.domain.errors import BrokerUnavailableError
from app.domain.scaling import ScalingRule
from app.live.memory import MemoryBoard
from app.nodes import NODES
from app.telemetry.pools import POOLS
from tests.support.clock import HandClock
from tests.support.waiting import wait_for

# A worker: ends a moment after it is told to, as one that finishes its unit.
WORKER = "import signal, time; signal.signal(15, lambda *_: exit(0)); print(flush=True)\n"
OBEYS = WORKER + "while True: time.sleep(0.05)"
STUBBORN = "import signal, time; signal.signal(15, 1); print(flush=True)\ntime.sleep(60)"
RULE = ScalingRule(minimum=0, maximum=3, target_s=10.0, cooldown_s=30.0)


class Board(MemoryBoard):
    is_down = False

    def shown(self, topic):
        if self.is_down:
            raise BrokerUnavailableError("live board is down")
        return super().shown(topic)


class Starter:
    """Starts real processes that only wait."""

    def __init__(self):
        self.code = OBEYS
        self.started = []

    def __call__(self, name):
        process = subprocess.Popen([sys.executable, "-c", self.code], stdout=subprocess.PIPE)
        process.stdout.readline()  # until it heeds signals
        process.stdout.close()
        self.started.append(name)
        return process


@pytest.fixture
def board():
    return Board()


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def starter():
    return Starter()


@pytest.fixture
def scaler(board, clock, starter):
    scaler = Autoscaler(board, "gpu", RULE, starter, clock=clock)
    yield scaler
    for child in scaler.children:
        child.process.kill()
        child.process.wait()


def show(board, pending_s):
    board.show(POOLS, "gpu", {"pending_s": pending_s}, ttl_s=3600)


def serving(scaler):
    return sum(child.is_running and not child.is_draining for child in scaler.children)


def test_workers_are_started_for_the_work_that_waits(scaler, board):
    show(board, 15.0)
    scaler.look()
    assert serving(scaler) == 2

    show(board, 1000.0)
    scaler.look()
    scaler.look()
    assert serving(scaler) == 3


def test_every_worker_has_a_name_of_its_own(scaler, board, starter):
    show(board, 25.0)
    scaler.look()

    assert starter.started == [f"gpu-{os.getpid()}-{number}" for number in (1, 2, 3)]


def test_a_pool_without_work_shrinks_to_its_minimum_after_the_cooldown(scaler, board, clock):
    show(board, 25.0)
    scaler.look()
    show(board, 0.0)
    clock.now_s += 30
    scaler.look()
    assert serving(scaler) == 3

    clock.now_s += 1
    scaler.look()

    assert serving(scaler) == 0
    wait_for(lambda: scaler.look() or not scaler.children)


def test_idle_workers_are_drained_before_busy_ones(scaler, board, clock):
    show(board, 25.0)
    scaler.look()
    unit = {"job_id": "j", "plan_hash": "p", "stage": "tile"}
    unit |= {"image": 0, "phase": 0, "index": 0, "elapsed_s": 1.0}
    busy = scaler.children[2]
    record = {"node": busy.name, "pid": busy.process.pid, "pool": "gpu", "current": unit}
    board.show(NODES, busy.name, record, ttl_s=60)
    show(board, 5.0)
    clock.now_s += 31
    scaler.look()

    assert [child.is_draining for child in scaler.children] == [True, True, False]


def test_other_pools_do_not_count(scaler, board):
    board.show(POOLS, "maps", {"pending_s": 500.0}, ttl_s=60)

    scaler.look()

    assert scaler.children == []


def test_the_minimum_runs_without_any_work(board, starter, clock):
    rule = ScalingRule(minimum=2, maximum=3, target_s=10.0, cooldown_s=30.0)
    scaler = Autoscaler(board, "gpu", rule, starter, clock=clock)

    scaler.look()

    assert serving(scaler) == 2
    scaler.end(10)


def test_a_board_that_is_down_or_empty_changes_nothing(scaler, board, clock):
    show(board, 15.0)
    scaler.look()

    for is_down in (True, False):
        board.is_down = is_down
        board.hide(POOLS, "gpu")
        clock.now_s += 1000
        scaler.look()

        assert serving(scaler) == 2


def test_a_worker_that_died_is_replaced_also_while_the_board_is_down(scaler, board, clock):
    show(board, 15.0)
    scaler.look()
    board.is_down = True
    clock.now_s += 100
    scaler.children[0].process.kill()
    scaler.children[0].process.wait()

    scaler.look()

    assert serving(scaler) == 2


def test_workers_that_end_at_once_are_started_more_and_more_slowly(scaler, board, clock, starter):
    starter.code = "print(flush=True)"
    show(board, 5.0)
    for _ in range(300):
        scaler.look()
        for child in scaler.children:
            child.process.wait()
        clock.now_s += 1

    assert 6 <= len(starter.started) <= 10


def test_a_worker_that_lived_long_is_replaced_at_once(scaler, board, clock, starter):
    show(board, 5.0)
    for _ in range(5):
        scaler.look()
        clock.now_s += 60
        for child in scaler.children:
            child.process.kill()
            child.process.wait()

    assert len(starter.started) == 5


def test_the_end_drains_all(scaler, board):
    show(board, 25.0)
    scaler.look()
    processes = [child.process for child in scaler.children]

    scaler.end(20)

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert scaler.children == []


def test_who_does_not_end_in_time_is_killed(board, starter, clock):
    starter.code = STUBBORN
    scaler = Autoscaler(board, "gpu", RULE, starter)
    show(board, 5.0)
    scaler.look()
    process = scaler.children[0].process

    scaler.end(0.3)

    assert process.returncode == -9


def test_a_worker_is_started_by_its_own_command(monkeypatch):
    commands = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: commands.append(command))

    worker_starter("maps", "cuda:1")("maps-1-1")
    worker_starter("maps", None)("maps-1-2")

    assert commands[0][1:] == [
        *("-m", "app.cli", "worker", "--queues", "maps", "--name", "maps-1-1"),
        *("--device", "cuda:1"),
    ]
    assert "--device" not in commands[1]
