from app.live.memory import MemoryBoard
from app.schedules import read_schedule
from tests.support.clock import HandClock


def shown(**record):
    """A board on which a job's schedule was shown three seconds ago."""
    clock = HandClock()
    board = MemoryBoard(clock)
    board.show("schedule", "job", record, ttl_s=60)
    clock.now_s += 3.0
    return board


def test_time_left_passes_while_nobody_tells_anew():
    assert read_schedule(shown(eta_s=10.0), "job").eta_s == 7.0
    assert read_schedule(shown(eta_s=2.0), "job").eta_s == 0.0


def test_time_that_is_not_known_stays_so():
    assert read_schedule(shown(position=1), "job").eta_s is None


def test_a_job_that_nobody_shows_has_no_schedule():
    assert read_schedule(shown(), "another") is None
