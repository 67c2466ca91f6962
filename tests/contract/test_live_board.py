"""One suite for every board: what the threads of a process see, and what a cluster sees."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from app.live.memory import MemoryBoard
from app.live.port import LiveBoard
from app.live.redis import RedisBoard
from tests.support.waiting import wait_for

KEPT = 50


@dataclass
class Subject:
    """A board as two processes have it."""

    board: LiveBoard
    elsewhere: LiveBoard


def memory(request) -> Iterator[Subject]:
    del request
    board = MemoryBoard(kept=KEPT)
    yield Subject(board, board)


def redis(request) -> Iterator[Subject]:
    url, prefix = request.getfixturevalue("redis_server"), f"{secrets.token_hex(4)}:"
    boards = [RedisBoard(url, prefix=prefix, timeout_s=3.0, kept=KEPT) for _ in range(2)]
    yield Subject(*boards)
    for board in boards:
        board.close()


SUBJECTS = [
    pytest.param(memory, id="memory"),
    pytest.param(redis, id="redis", marks=pytest.mark.integration),
]


@pytest.fixture(params=SUBJECTS)
def subject(request) -> Iterator[Subject]:
    yield from request.param(request)


@pytest.fixture
def board(subject) -> LiveBoard:
    return subject.board


@pytest.fixture
def elsewhere(subject) -> LiveBoard:
    return subject.elsewhere


def test_events_are_heard_elsewhere_in_the_order_in_which_they_were_told(board, elsewhere):
    for number in range(3):
        board.tell({"kind": "unit", "index": number, "seconds": 0.5, "ä": [None, True, "ü"]})

    heard = elsewhere.listen(1.0)

    assert [event["index"] for event in heard] == [0, 1, 2]
    assert heard[0] == {"kind": "unit", "index": 0, "seconds": 0.5, "ä": [None, True, "ü"]}


def test_an_event_is_heard_once(board, elsewhere):
    board.tell({"kind": "job"})

    assert elsewhere.listen(1.0) == [{"kind": "job"}]
    assert elsewhere.listen(0.0) == []
    assert board.listen(0.05) == []


def test_a_listener_is_woken_by_the_first_event(board, elsewhere):
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(elsewhere.listen, 60.0)
        with pytest.raises(TimeoutError):
            heard.result(timeout=0.1)

        board.tell({"kind": "job"})

        assert heard.result(timeout=5.0) == [{"kind": "job"}]


@pytest.mark.parametrize("timeout_s", [-1.0, 0.0, 0.2], ids=["past", "none", "short"])
def test_a_listener_goes_on_when_nothing_is_told(board, timeout_s):
    began = time.monotonic()

    assert board.listen(timeout_s) == []

    assert max(timeout_s, 0.0) - 0.05 <= time.monotonic() - began < 3.0


def test_without_a_listener_the_oldest_events_are_dropped(board, elsewhere):
    for number in range(KEPT + 7):
        board.tell({"index": number})

    heard = elsewhere.listen(1.0)

    assert [event["index"] for event in heard] == list(range(7, KEPT + 7))


def test_no_event_is_lost_or_doubled_between_tellers_and_listeners(board, elsewhere):
    heard, tellers = [], 4
    done = threading.Event()

    def listen(ear: LiveBoard) -> None:
        while not done.is_set():
            heard.extend(event["name"] for event in ear.listen(0.05))

    with ThreadPoolExecutor(tellers + 2) as pool:
        for ear in (board, elsewhere):
            pool.submit(listen, ear)
        told = [
            pool.submit(board.tell, {"name": f"{teller}-{number}"})
            for number in range(KEPT // tellers)
            for teller in range(tellers)
        ]
        wait_for(lambda: len(heard) >= len(told))
        done.set()

    assert sorted(heard) == sorted(f"{t}-{n}" for t in range(tellers) for n in range(KEPT // 4))


def test_a_record_is_seen_elsewhere_with_its_age(board, elsewhere):
    board.show("nodes", "w1@host", {"pool": "gpu", "labels": {"rack": "ä 1"}}, ttl_s=60)

    record = elsewhere.shown("nodes")["w1@host"]

    assert record.pop("age_s") < 5
    assert record == {"pool": "gpu", "labels": {"rack": "ä 1"}}


def test_the_last_record_under_a_name_is_the_one_that_is_shown(board, elsewhere):
    board.show("nodes", "w1", {"state": "ready"}, ttl_s=60)
    elsewhere.show("nodes", "w1", {"state": "paused"}, ttl_s=60)

    assert board.shown("nodes")["w1"]["state"] == "paused"


def test_a_record_grows_old_until_it_is_shown_again(board):
    board.show("nodes", "w1", {}, ttl_s=60)
    wait_for(lambda: board.shown("nodes")["w1"]["age_s"] > 0.2)

    board.show("nodes", "w1", {}, ttl_s=60)

    assert board.shown("nodes")["w1"]["age_s"] < 0.2


def test_a_clock_that_is_an_hour_off_ages_no_record(board, elsewhere, monkeypatch):
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    board.show("nodes", "slow clock", {}, ttl_s=60)
    monkeypatch.setattr(time, "time", lambda: real() + 3600)

    assert elsewhere.shown("nodes")["slow clock"]["age_s"] < 5


def test_a_record_goes_when_its_time_is_over_and_the_others_stay(board, elsewhere):
    board.show("nodes", "short", {}, ttl_s=0.05)
    board.show("nodes", "long", {}, ttl_s=60)

    wait_for(lambda: set(elsewhere.shown("nodes")) == {"long"})


def test_a_record_of_short_life_does_not_shorten_the_life_of_others(board):
    board.show("nodes", "long", {}, ttl_s=60)
    board.show("nodes", "short", {}, ttl_s=0.05)

    wait_for(lambda: "short" not in board.shown("nodes"))
    assert set(board.shown("nodes")) == {"long"}


def test_a_hidden_record_is_gone_and_may_be_hidden_again(board, elsewhere):
    board.show("nodes", "w1", {}, ttl_s=60)

    elsewhere.hide("nodes", "w1")
    elsewhere.hide("nodes", "w1")
    elsewhere.hide("nothing", "w1")

    assert board.shown("nodes") == {}


def test_topics_do_not_mix(board):
    board.show("nodes", "a", {"of": "nodes"}, ttl_s=60)
    board.show("schedule", "a", {"of": "schedule"}, ttl_s=60)

    assert board.shown("schedule")["a"]["of"] == "schedule"
    assert board.shown("pools") == {}


def test_what_is_shown_is_a_copy(board):
    record = {"labels": {"rack": "1"}}
    board.show("nodes", "w1", record, ttl_s=60)
    record["labels"]["rack"] = "2"
    board.shown("nodes")["w1"]["labels"]["rack"] = "3"

    assert board.shown("nodes")["w1"]["labels"] == {"rack": "1"}


def test_what_is_no_json_is_refused_where_it_is_told(board):
    with pytest.raises(TypeError):
        board.tell({"when": object()})
    with pytest.raises(TypeError):
        board.show("nodes", "w1", {"when": object()}, ttl_s=60)

    assert board.listen(0.0) == []
    assert board.shown("nodes") == {}


def test_a_lease_has_one_holder_who_may_renew_it(board, elsewhere):
    assert board.lease("dispatcher", "a", ttl_s=60)

    assert not elsewhere.lease("dispatcher", "b", ttl_s=60)
    assert board.lease("dispatcher", "a", ttl_s=60)
    assert elsewhere.lease("another", "b", ttl_s=60)


def test_a_lease_goes_to_another_when_its_time_is_over(board, elsewhere):
    board.lease("dispatcher", "a", ttl_s=0.1)

    wait_for(lambda: elsewhere.lease("dispatcher", "b", ttl_s=60))

    assert not board.lease("dispatcher", "a", ttl_s=60)


def test_renewing_a_lease_prolongs_it(board, elsewhere):
    board.lease("dispatcher", "a", ttl_s=0.1)
    board.lease("dispatcher", "a", ttl_s=60)

    with pytest.raises(TimeoutError):
        wait_for(lambda: elsewhere.lease("dispatcher", "b", ttl_s=60), limit_s=0.4)


def test_only_its_holder_gives_a_lease_back(board, elsewhere):
    board.lease("dispatcher", "a", ttl_s=60)

    elsewhere.release("dispatcher", "b")
    assert not elsewhere.lease("dispatcher", "b", ttl_s=60)

    board.release("dispatcher", "a")
    board.release("dispatcher", "a")
    assert elsewhere.lease("dispatcher", "b", ttl_s=60)


def test_of_many_who_reach_for_a_lease_one_gets_it(board):
    start = threading.Barrier(8)

    def reach(owner: str) -> bool:
        start.wait()
        return board.lease("dispatcher", owner, ttl_s=60)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(reach, "abcdefgh"))

    assert won.count(True) == 1


CALLS: dict[str, Callable[[LiveBoard], object]] = {
    "tell": lambda board: board.tell({}),
    "listen": lambda board: board.listen(0.2),
    "show": lambda board: board.show("nodes", "w1", {}, ttl_s=60),
    "shown": lambda board: board.shown("nodes"),
    "hide": lambda board: board.hide("nodes", "w1"),
    "lease": lambda board: board.lease("dispatcher", "a", ttl_s=60),
    "release": lambda board: board.release("dispatcher", "a"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_every_call_may_be_the_first(board, call):
    call(board)
