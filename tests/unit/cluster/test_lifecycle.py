"""Bringing up and down, with real processes that are not servers."""

import os
import socket
import sys
from dataclasses import replace

import pytest

from app.cluster import state as states
from app.cluster.lifecycle import bring_up, log_tail, take_down
from app.cluster.process import is_running
from app.cluster.service import Service
from app.domain.errors import ConfigurationError


def service(tmp_path, name: str, argv=("sleep", "300"), **changes) -> Service:
    ready = Service(name, tuple(argv), {}, tmp_path, {}, lambda: True, 20.0, 5.0)
    return replace(ready, **changes)


@pytest.fixture
def lines():
    return []


@pytest.fixture
def up(tmp_path, lines):
    """Bring up tiers in the test's folder; all are taken down at the end."""

    def run(*tiers) -> dict[str, int]:
        bring_up(tmp_path, tiers, {}, lines.append)
        return pids(tmp_path)

    yield run
    take_down(tmp_path, lines.append)


def pids(folder) -> dict[str, int]:
    return {name: found.process.pid for name, found in states.load(folder).records.items()}


def test_every_service_runs_and_is_announced(up, tmp_path, lines):
    up([service(tmp_path, "a")], [service(tmp_path, "b"), service(tmp_path, "c")])

    assert all(found.is_running for found in states.load(tmp_path).records.values())
    assert [line.partition(" (")[0] for line in lines] == [
        "a is ready",
        "b is ready",
        "c is ready",
    ]


def test_a_second_up_keeps_what_runs(up, tmp_path):
    tier = [service(tmp_path, "a"), service(tmp_path, "b")]

    assert up(tier) == up(tier)


def test_a_second_up_replaces_only_what_died(up, tmp_path):
    tier = [service(tmp_path, "a"), service(tmp_path, "b")]
    first = up(tier)
    os.kill(first["a"], 9)
    while states.load(tmp_path).running("a"):
        pass

    second = up(tier)

    assert second["a"] != first["a"]
    assert second["b"] == first["b"]


def test_what_is_no_longer_wanted_is_ended(up, tmp_path):
    up([service(tmp_path, "a"), service(tmp_path, "b")])
    surplus = states.load(tmp_path).records["b"].process

    assert list(up([service(tmp_path, "a")])) == ["a"]
    assert not is_running(surplus)


def test_a_tier_starts_when_the_one_before_is_ready(up, tmp_path):
    seen = []
    later = [service(tmp_path, "b")]

    def first_is_ready() -> bool:
        seen.append("b" in pids(tmp_path))
        return len(seen) > 3

    up([service(tmp_path, "a", is_ready=first_is_ready)], later)

    assert seen == [False] * 4


def test_a_service_that_dies_ends_the_attempt_with_its_last_words(up, tmp_path):
    words = (sys.executable, "-c", "print('no such setting'); raise SystemExit(3)")
    dying = service(tmp_path, "dying", words, is_ready=lambda: False)

    with pytest.raises(ConfigurationError) as failed:
        up([service(tmp_path, "other", is_ready=lambda: False), dying])

    message = str(failed.value)
    assert message.startswith("dying must become ready, it ended after ")
    assert message.endswith(f"{tmp_path}/logs/dying.log ends with:\nno such setting")


def test_a_failed_up_leaves_nothing_it_started_and_all_that_ran_before(up, tmp_path, lines):
    before = up([service(tmp_path, "kept")])
    failing = service(tmp_path, "slow", is_ready=lambda: False, start_limit_s=0.2)

    with pytest.raises(ConfigurationError, match=r"^slow must become ready, it was not ready"):
        up([service(tmp_path, "kept"), service(tmp_path, "new"), failing])

    assert pids(tmp_path) == before
    assert states.load(tmp_path).running("kept")
    assert {"new stopped", "slow stopped"} <= set(lines)


def test_a_port_another_program_holds_is_named(up, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(ConfigurationError) as refused:
            up([service(tmp_path, "web", ports={"http": port})])

    assert str(refused.value) == (
        f"port {port} (http of web) must be free, another program listens there; "
        "choose others with --port-base"
    )
    assert states.load(tmp_path).records == {}


def test_down_ends_the_last_tier_first(up, tmp_path, lines):
    up([service(tmp_path, "server")], [service(tmp_path, "client")])
    lines.clear()

    take_down(tmp_path, lines.append)

    assert lines == ["client stopped", "server stopped"]
    assert states.load(tmp_path).records == {}


def test_down_without_up_does_nothing(tmp_path, lines):
    take_down(tmp_path, lines.append)

    assert lines == []


def test_down_leaves_a_process_alone_that_only_has_the_recorded_id(up, tmp_path, lines):
    up([service(tmp_path, "a")])
    state = states.load(tmp_path)
    real = state.records["a"]
    state.records["a"] = replace(real, process=replace(real.process, started="earlier/1"))
    states.save(tmp_path, state)

    take_down(tmp_path, lines.append)

    assert real.is_running
    assert lines[-1] == "a was gone"
    state.records["a"] = real
    states.save(tmp_path, state)


def test_a_log_begins_with_its_process_and_the_one_before_is_kept(up, tmp_path):
    speaking = (sys.executable, "-c", "import time; print('hello', flush=True); time.sleep(300)")
    log = tmp_path / "logs/a.log"
    tier = [service(tmp_path, "a", speaking, is_ready=lambda: "hello" in log.read_text())]
    first = up(tier)
    os.kill(first["a"], 9)
    while states.load(tmp_path).running("a"):
        pass

    up(tier)

    assert log.read_text() == "hello\n"
    assert (tmp_path / "logs/a.previous.log").read_text() == "hello\n"


def test_a_log_that_is_not_there_has_no_tail(tmp_path):
    assert log_tail(tmp_path / "none.log") == "-"
