import json
import os
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from app.cluster import state as states
from app.cluster.process import Process, identify
from app.cluster.state import Record, State
from app.domain.errors import ConfigurationError


def record(name: str, process: Process | None = None) -> Record:
    gone = Process(2**22 + 1, "boot/1")
    return Record(name, process or gone, 1, {"http": 17600}, f"/logs/{name}.log", 2.5)


def test_what_is_saved_is_loaded_in_the_same_order(tmp_path):
    state = State({"b": record("b"), "a": record("a")}, {"amqp": 17600})

    states.save(tmp_path, state)

    assert states.load(tmp_path) == state
    assert list(states.load(tmp_path).records) == ["b", "a"]


def test_nothing_saved_is_an_empty_state(tmp_path):
    assert states.load(tmp_path / "never") == State()


def test_saving_an_empty_state_removes_the_file(tmp_path):
    states.save(tmp_path, State({"a": record("a")}))
    states.save(tmp_path, State())

    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_can_read_the_state(tmp_path):
    states.save(tmp_path, State({"a": record("a")}))

    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600


DAMAGED = {
    "cut": '{"records": [',
    "no records": "{}",
    "unknown field": json.dumps({"records": [{"process": {"pid": 1, "started": "x", "z": 1}}]}),
    "not an object": "[]",
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_state_is_refused_rather_than_guessed(tmp_path, text):
    (tmp_path / "state.json").write_text(text)

    with pytest.raises(ConfigurationError) as refused:
        states.load(tmp_path)

    assert str(refused.value).startswith(
        f"cluster state {tmp_path}/state.json must be readable JSON, got: "
    )


def test_a_record_runs_while_its_process_does():
    state = State({"me": record("me", identify(os.getpid())), "gone": record("gone")})

    assert state.running("me")
    assert not state.running("gone")
    assert not state.running("unknown")


def test_one_up_or_down_works_on_a_folder_at_a_time(tmp_path):
    entered = Event()

    def second() -> None:
        with states.exclusive(tmp_path):
            entered.set()

    with ThreadPoolExecutor(1) as pool:
        with states.exclusive(tmp_path):
            waiting = pool.submit(second)
            assert not entered.wait(0.2)
        waiting.result(timeout=5)
    assert entered.is_set()
