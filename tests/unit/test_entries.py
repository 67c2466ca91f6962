from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.spec import Priority
from app.entries import Entries, Entry, entry_of
from app.schemas import read_request
from app.storage.memory import MemoryStore


@pytest.fixture
def entries() -> Entries:
    return Entries(MemoryStore())


def entry(job_id="job", accepted_ms=5, **facts) -> Entry:
    return Entry(job_id, accepted_ms, **({"priority": Priority.NORMAL, "tenant": "a"} | facts))


def test_an_entry_carries_all_that_scheduling_knows(entries):
    entries.add(entry(priority=Priority.HIGH, tenant="studio", deadline_ms=90))

    assert entries.all() == [Entry("job", 5, Priority.HIGH, "studio", 90)]


@given(
    st.builds(
        Entry,
        job_id=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,30}", fullmatch=True),
        accepted_ms=st.integers(0, 2**45),
        priority=st.sampled_from(Priority),
        tenant=st.from_regex(r"[a-z0-9_-][a-z0-9._-]{0,62}", fullmatch=True),
        deadline_ms=st.none() | st.integers(1, 2**45),
    )
)
def test_what_is_put_in_line_is_read_as_it_was(written):
    line = Entries(MemoryStore())

    line.add(written)

    assert line.find(written.job_id) == written


def test_jobs_are_listed_in_order_of_acceptance(entries):
    for job_id, accepted_ms in (("late", 100), ("early", 20), ("same-a", 30), ("same-b", 30)):
        entries.add(entry(job_id, accepted_ms))

    assert [found.job_id for found in entries.all()] == ["early", "same-a", "same-b", "late"]


def test_a_job_that_is_put_in_line_again_keeps_its_place(entries):
    entries.add(entry(accepted_ms=5))
    entries.add(entry(accepted_ms=900, priority=Priority.HIGH))

    assert entries.all() == [entry(accepted_ms=5)]


def test_a_client_whose_clock_is_behind_moves_no_job_forward(entries):
    entries.add(entry(accepted_ms=500))
    entries.add(entry(accepted_ms=5))

    assert entries.all() == [entry(accepted_ms=500)]


def test_who_takes_an_entry_out_of_the_line_takes_nobody_elses(entries):
    added = [entries.add(entry(accepted_ms=5).anew()) for _ in range(3)]

    entries.take_back(added[0])

    assert entries.keys("job") == sorted(each.key for each in added[1:])
    assert entries.find("job") == added[1]


def test_of_two_acceptances_at_once_the_first_counts(entries):
    store = entries._store
    for key in (entry(accepted_ms=7).key, entry(accepted_ms=5).key):
        store.put(key, b"")

    assert entries.find("job") == entry(accepted_ms=5)


def test_a_closed_job_has_left_the_line_with_all_that_was_said_of_it(entries):
    entries.add(entry())
    entries.add(entry("job-2"))
    entries.pause("job")
    entries.prioritise("job", Priority.LOW, 8)

    entries.close("job")

    assert [found.job_id for found in entries.all()] == ["job-2"]
    assert list(entries._store.keys("queue/job/")) == []


def test_the_folder_of_the_line_is_never_empty_once_a_job_was_in_it(entries):
    entries.add(entry())
    store = entries._store
    deleted, delete = [], store.delete

    def watch(key):
        delete(key)
        deleted.append(list(store.keys("queue/")))

    store.delete = watch
    entries.close("job")

    assert deleted
    assert all(deleted)
    assert entries.all() == []


def test_a_paused_job_stays_in_line(entries):
    entries.add(entry())

    entries.pause("job")
    assert [found.is_paused for found in entries.all()] == [True]
    entries.unpause("job")
    assert [found.is_paused for found in entries.all()] == [False]


def test_the_latest_change_of_priority_counts(entries):
    entries.add(entry())
    entries.prioritise("job", Priority.HIGH, 1_000)
    entries.prioritise("job", Priority.LOW, 2_000)

    assert entries.find("job").priority is Priority.LOW


def test_a_change_to_the_same_class_is_told_from_none(entries):
    entries.add(entry())
    before = entries.find("job")

    entries.prioritise("job", Priority.NORMAL, 1_000)
    once = entries.find("job")
    entries.prioritise("job", Priority.NORMAL, 2_000)

    assert len({before.change, once.change, entries.find("job").change}) == 3


def test_a_job_that_is_being_reopened_is_in_line_until_that_is_done_and_after_it(entries):
    marked = entries.add(replace(entry(accepted_ms=5), is_reopening=True))
    entries.add(entry(accepted_ms=900))

    assert entries.find("job") == replace(entry(accepted_ms=900), is_reopening=True)
    entries.end_reopening("job")
    assert entries.all() == [entry(accepted_ms=900)]
    assert marked.key not in entries.keys("job")


def test_what_is_said_of_a_job_that_is_not_in_line_makes_none(entries):
    entries.pause("gone")
    entries.prioritise("gone", Priority.HIGH, 5)

    assert entries.all() == []
    assert entries.find("gone") is None


def test_one_damaged_name_does_not_hide_the_other_jobs(entries):
    entries.add(entry())
    for key in ("queue/odd/accepted/soon/normal/a/none", "queue/odder/accepted", "queue/oddest"):
        entries._store.put(key, b"")

    assert [found.job_id for found in entries.all()] == ["job"]


def test_a_deadline_is_counted_from_acceptance():
    request = read_request({"prompt": "a map", "deadline_s": 60, "tenant": "a", "priority": "low"})

    placed = entry_of("job", request)

    assert placed.deadline_ms == placed.accepted_ms + 60_000
    assert (placed.tenant, placed.priority) == ("a", Priority.LOW)


def test_what_else_was_said_of_a_job_goes_when_it_is_no_longer_in_line(entries):
    added = entries.add(entry().anew())
    entries.pause("job")
    entries.tidy("job")
    assert entries.all() == [replace(added, is_paused=True)]

    entries.take_back(added)
    entries.tidy("job")

    assert entries.keys("job") == []
