from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.retention import (
    Folder,
    Removal,
    RetentionRules,
    Standing,
    StoredJob,
    Survey,
    What,
    removals,
)

DAY_S = 86400.0
NOW_S = 1_000 * DAY_S
RULES = RetentionRules(intermediates_ttl_s=7 * DAY_S, results_ttl_s=0, max_store_bytes=0)
JOB = StoredJob(
    "job",
    Standing.SUCCEEDED,
    folders=frozenset({"plan", "series"}),
    inputs=frozenset(),
    touched_s=NOW_S - 8 * DAY_S,
    size_bytes=1,
)
PLAN = Folder("plan", NOW_S - 8 * DAY_S, result_bytes=100, other_bytes=10, others=3)
SERIES = Folder("series", NOW_S - 8 * DAY_S, other_bytes=1000, others=50)


def survey(jobs=(), folders=(), inputs=None, marks=None) -> Survey:
    return Survey(list(jobs), list(folders), inputs or {}, marks or {})


def told(found) -> set[tuple[What, str]]:
    return {(removal.what, removal.name) for removal in removals(*found)}


def test_what_a_picture_was_made_from_goes_and_the_picture_stays():
    found = removals(survey([JOB], [PLAN, SERIES]), RULES, NOW_S)

    assert found == [
        Removal(What.INTERMEDIATES, "plan", 10),
        Removal(What.INTERMEDIATES, "series", 1000),
    ]


@pytest.mark.parametrize("touched", ["job", "folder"])
def test_what_was_used_lately_stays(touched):
    job = replace(JOB, touched_s=NOW_S - DAY_S) if touched == "job" else JOB
    series = replace(SERIES, touched_s=NOW_S - DAY_S) if touched == "folder" else SERIES

    assert removals(survey([job], [series]), RULES, NOW_S) == []


def test_nothing_is_left_of_the_plan_of_a_cancelled_job():
    cancelled = replace(JOB, standing=Standing.ENDED)

    found = removals(survey([cancelled], [PLAN, SERIES]), RULES, NOW_S)

    assert found == [
        Removal(What.FOLDER, "plan", 110, ("job",)),
        Removal(What.FOLDER, "series", 1000),
    ]


def test_the_plan_of_a_cancelled_job_stays_where_another_job_has_its_pictures():
    cancelled = replace(JOB, job_id="cancelled", standing=Standing.ENDED)

    assert told((survey([cancelled, JOB], [PLAN]), RULES, NOW_S)) == {(What.INTERMEDIATES, "plan")}


@pytest.mark.parametrize("how", ["folders", "reads"])
def test_what_an_open_job_uses_or_starts_from_stays(how):
    user = replace(JOB, job_id="open", standing=Standing.OPEN, folders=frozenset())
    user = replace(user, **{how: frozenset({"plan", "series"})})
    rules = replace(RULES, results_ttl_s=1, max_store_bytes=1)

    found = told((survey([JOB, user], [PLAN, SERIES]), rules, NOW_S))

    assert found == {(What.JOB, "job")}


def test_folders_that_no_job_names_go():
    assert told((survey([], [PLAN]), RULES, NOW_S)) == {(What.FOLDER, "plan")}


def test_results_are_kept_for_ever_unless_a_time_is_set():
    ancient = replace(JOB, touched_s=0.0)
    old = replace(PLAN, touched_s=0.0, others=0, other_bytes=0)

    assert removals(survey([ancient], [old]), RULES, NOW_S) == []


def test_an_expired_result_goes_with_its_plan_and_its_jobs_records():
    rules = replace(RULES, results_ttl_s=5 * DAY_S)

    found = removals(survey([JOB], [PLAN]), rules, NOW_S)

    assert found == [Removal(What.FOLDER, "plan", 110), Removal(What.JOB, "job", 1)]


def test_a_picture_stays_for_the_youngest_job_that_was_given_it():
    rules = replace(RULES, results_ttl_s=5 * DAY_S)
    younger = replace(JOB, job_id="younger", touched_s=NOW_S - DAY_S)

    found = told((survey([JOB, younger], [PLAN, SERIES]), rules, NOW_S))

    assert found == {(What.JOB, "job")}


def test_a_full_store_gives_up_first_what_can_be_made_again():
    rules = replace(RULES, max_store_bytes=500, intermediates_ttl_s=30 * DAY_S)

    assert told((survey([JOB], [PLAN, SERIES]), rules, NOW_S)) == {
        (What.INTERMEDIATES, "plan"),
        (What.INTERMEDIATES, "series"),
    }


def test_a_full_store_gives_up_the_results_that_ended_first():
    rules = replace(RULES, max_store_bytes=250, intermediates_ttl_s=30 * DAY_S)
    jobs = [
        replace(JOB, job_id=f"j{age}", folders=frozenset({f"p{age}"}), touched_s=NOW_S - age)
        for age in (1, 3, 2)
    ]
    folders = [
        replace(PLAN, name=f"p{age}", other_bytes=0, others=0, touched_s=NOW_S - age)
        for age in (1, 3, 2)
    ]

    assert removals(survey(jobs, folders), rules, NOW_S) == [
        Removal(What.FOLDER, "p3", 100),
        Removal(What.JOB, "j3", 1),
    ]


def test_a_store_that_fits_gives_up_nothing():
    rules = replace(RULES, max_store_bytes=1111, intermediates_ttl_s=30 * DAY_S)

    assert removals(survey([JOB], [PLAN, SERIES]), rules, NOW_S) == []


def test_uploads_go_a_day_after_they_came_unless_a_job_names_them():
    job = replace(JOB, inputs=frozenset({"inputs/sketch"}), folders=frozenset())
    inputs = {
        "inputs/sketch": (NOW_S - 9 * DAY_S, 10),
        "inputs/forgotten": (NOW_S - 9 * DAY_S, 10),
        "inputs/just-now": (NOW_S - 60, 10),
    }

    assert told((survey([job], [], inputs), RULES, NOW_S)) == {(What.INPUT, "inputs/forgotten")}


def test_the_uploads_of_a_job_that_goes_go_with_it():
    job = replace(JOB, inputs=frozenset({"inputs/sketch"}), folders=frozenset())
    rules = replace(RULES, results_ttl_s=DAY_S)
    inputs = {"inputs/sketch": (0.0, 10)}

    assert told((survey([job], [], inputs), rules, NOW_S)) == {
        (What.JOB, "job"),
        (What.INPUT, "inputs/sketch"),
    }


def test_marks_go_after_a_day():
    marks = {"withdrawn/a": NOW_S - 2 * DAY_S, "withdrawn/b": NOW_S - 60}

    assert told((survey(marks=marks), RULES, NOW_S)) == {(What.MARK, "withdrawn/a")}


NAMES = st.sampled_from(["f0", "f1", "f2", "f3", "f4"])
TIMES = st.floats(0, NOW_S)
JOBS = st.builds(
    StoredJob,
    job_id=st.just(""),
    standing=st.sampled_from(Standing),
    folders=st.frozensets(NAMES, max_size=2),
    inputs=st.frozensets(st.sampled_from(["i0", "i1"])),
    touched_s=TIMES,
    size_bytes=st.integers(0, 10),
    reads=st.frozensets(NAMES, max_size=1),
)
FOLDERS = st.builds(
    Folder,
    name=NAMES,
    touched_s=TIMES,
    result_bytes=st.integers(0, 100),
    other_bytes=st.integers(0, 100),
    others=st.integers(0, 3),
)
ANY_SURVEY = st.builds(
    Survey,
    jobs=st.lists(JOBS, max_size=6).map(
        lambda jobs: [replace(job, job_id=f"j{n}") for n, job in enumerate(jobs)]
    ),
    folders=st.lists(FOLDERS, unique_by=lambda folder: folder.name, max_size=5),
    inputs=st.dictionaries(
        st.sampled_from(["i0", "i1", "i2"]), st.tuples(TIMES, st.integers(0, 9))
    ),
    marks=st.dictionaries(st.sampled_from(["m0", "m1"]), TIMES),
)
ANY_RULES = st.builds(
    RetentionRules,
    intermediates_ttl_s=st.floats(0, NOW_S),
    results_ttl_s=st.floats(0, NOW_S),
    max_store_bytes=st.integers(0, 600),
)


def carried_out(found: Survey, gone: list[Removal]) -> Survey:
    """What is left of a store."""
    names = {what: {each.name for each in gone if each.what is what} for what in What}
    unplanned = {job_id for each in gone for job_id in each.jobs}
    return Survey(
        [
            replace(job, folders=frozenset()) if job.job_id in unplanned else job
            for job in found.jobs
            if job.job_id not in names[What.JOB]
        ],
        [
            replace(folder, other_bytes=0, others=0)
            if folder.name in names[What.INTERMEDIATES]
            else folder
            for folder in found.folders
            if folder.name not in names[What.FOLDER]
        ],
        {key: told for key, told in found.inputs.items() if key not in names[What.INPUT]},
        {key: told for key, told in found.marks.items() if key not in names[What.MARK]},
    )


def size_bytes(found: Survey) -> int:
    folders = sum(folder.result_bytes + folder.other_bytes for folder in found.folders)
    inputs = sum(size for _, size in found.inputs.values())
    return folders + inputs + sum(job.size_bytes for job in found.jobs)


@given(found=ANY_SURVEY, rules=ANY_RULES)
def test_no_rule_takes_what_an_open_job_needs(found, rules):
    open_jobs = [job for job in found.jobs if job.standing is Standing.OPEN]
    needed = {name for job in open_jobs for name in job.folders | job.reads}

    gone = removals(found, rules, NOW_S)

    for removal in gone:
        match removal.what:
            case What.FOLDER | What.INTERMEDIATES:
                assert removal.name not in needed
                assert not {job.job_id for job in open_jobs} & set(removal.jobs)
            case What.JOB:
                assert removal.name not in {job.job_id for job in open_jobs}
            case What.INPUT:
                assert not any(removal.name in job.inputs for job in open_jobs)


@given(found=ANY_SURVEY, rules=ANY_RULES)
def test_no_job_is_left_with_a_result_whose_pictures_are_gone(found, rules):
    gone = removals(found, rules, NOW_S)

    left = carried_out(found, gone)
    folders_gone = {each.name for each in gone if each.what is What.FOLDER}
    for job in left.jobs:
        if job.standing is Standing.SUCCEEDED:
            assert not job.folders & folders_gone


@given(found=ANY_SURVEY, rules=ANY_RULES)
def test_the_rules_are_satisfied_once_they_are_carried_out(found, rules):
    once = carried_out(found, removals(found, rules, NOW_S))

    left = carried_out(once, removals(once, rules, NOW_S))
    again = removals(left, rules, NOW_S)

    assert again == []


@given(found=ANY_SURVEY, rules=ANY_RULES.map(lambda rules: replace(rules, max_store_bytes=50)))
def test_only_open_jobs_and_uploads_can_keep_a_store_above_its_limit(found, rules):
    left = carried_out(found, removals(found, rules, NOW_S))

    open_jobs = [job for job in left.jobs if job.standing is Standing.OPEN]
    needed = {name for job in open_jobs for name in job.folders | job.reads}
    if size_bytes(left) > 50:
        assert all(job.standing is Standing.OPEN for job in left.jobs)
        assert all(folder.name in needed for folder in left.folders)


@given(found=ANY_SURVEY, rules=ANY_RULES)
def test_each_thing_goes_once(found, rules):
    gone = [(removal.what is What.JOB, removal.name) for removal in removals(found, rules, NOW_S)]

    assert len(set(gone)) == len(gone)
