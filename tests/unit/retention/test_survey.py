"""What is read of a store before anything is removed."""

import pytest

from app.domain.retention import Standing
from app.domain.work import Stage
from app.retention.survey import Surveyor, is_result
from tests.unit.retention.shelf import request_of

PICTURE = "inputs/" + "a" * 64
MASK = "inputs/" + "b" * 64


@pytest.fixture
def survey(shelf):
    return lambda: Surveyor(shelf.runtime).look()


def standings(found):
    return {job.job_id: job.standing for job in found.jobs}


def test_a_job_is_open_succeeded_or_ended(shelf, survey):
    shelf.order("open")
    shelf.finish("done", seed=1)
    shelf.order("cancelled", seed=2)
    shelf.cancel("cancelled")
    shelf.order("left", seed=3)
    shelf.runtime.entries.close("left")

    assert standings(survey()) == {
        "open": Standing.OPEN,
        "done": Standing.SUCCEEDED,
        "cancelled": Standing.ENDED,
        "left": Standing.ENDED,
    }


def test_a_job_that_has_its_result_and_stands_in_line_is_open(shelf, survey):
    shelf.finish("job")
    shelf.order("job")

    assert standings(survey()) == {"job": Standing.OPEN}


def test_a_job_uses_its_plan_and_its_series(shelf, survey):
    shelf.finish("job")
    plan = shelf.plan("job")

    job = survey().jobs[0]

    assert job.folders == {plan.hash, plan.series}
    assert job.reads == frozenset()


def test_a_job_that_paints_a_part_anew_starts_from_the_folders_of_another(shelf, survey):
    shelf.finish("job")
    parent = shelf.plan("job")
    box = {"top": 0, "left": 0, "bottom": 64, "right": 64}
    again = {"plan_hash": parent.hash, "box": box}
    shelf.order("part", rerender=again, mode=str(parent.spec.mode))

    found = {job.job_id: job for job in survey().jobs}

    assert found["part"].reads == {parent.hash, parent.series}
    assert not found["part"].folders & found["part"].reads


def test_a_job_names_its_uploads(shelf, survey):
    request = request_of(
        init_image=PICTURE, regions=[{"prompt": '"inputs/" is a folder', "mask": MASK}]
    )
    shelf.ledger.submit("job", request)

    assert survey().jobs[0].inputs == {PICTURE, MASK}


def test_bytes_are_those_of_pictures_and_those_they_were_made_from(shelf, survey):
    shelf.finish("job")
    plan = shelf.plan("job")

    folders = {folder.name: folder for folder in survey().folders}

    def size_of(keys):
        return sum(len(shelf.store.get(key)) for key in keys)

    series, own = folders[plan.series], folders[plan.hash]
    assert (series.result_bytes, series.others) == (0, len(shelf.made_from(plan)))
    assert series.other_bytes == size_of(shelf.made_from(plan))
    assert own.result_bytes == size_of(shelf.blobs(f"plans/{plan.hash}/"))
    assert own.others == len(shelf.blobs("runs/"))


def test_a_job_whose_plan_is_not_there_still_names_its_hash(shelf, survey):
    shelf.order("job")
    plan = shelf.plan("job")
    shelf.store.delete(f"plans/{plan.hash}/plan.json")

    assert survey().jobs[0].folders == {plan.hash}


def test_what_another_version_planned_is_kept_by_its_hash(shelf, survey):
    shelf.store.put("jobs/job/plan.json", b'{"plan_hash": "abc"}')
    shelf.store.put("plans/abc/plan.json", b'{"version": 99}')

    assert survey().jobs[0].folders == {"abc"}


def test_uploads_and_marks_are_told_with_their_age(shelf, survey):
    shelf.store.put(PICTURE, b"12345")
    shelf.store.put("withdrawn/job", b"")
    shelf.let_pass(100)

    found = survey()

    assert found.inputs[PICTURE][1] == 5
    assert set(found.marks) == {"withdrawn/job"}


def test_the_line_predictions_and_probes_are_nobodys_business(shelf, survey):
    for key in ("queue/x/accepted/1/normal/t/none", "predictions/1.json", "probe/ready"):
        shelf.store.put(key, b"x")

    found = survey()

    assert (found.jobs, found.folders, found.inputs, found.marks) == ([], [], {}, {})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plan.json", True),
        ("image-0000/picture.png", True),
        ("image-0000/picture.png.json", True),
        ("image-0000/quality.json", True),
        ("image-0000/thumbnail.jpg", True),
        ("image-12345/picture.webp", True),
        ("image-0000/picture.dzi", True),
        ("image-0000/picture_files/9/1_0.jpg", True),
        ("image-0000/canvas-1.json", False),
        ("image-0000/prepared", False),
        ("image-0000/phase-0/tile-00001", False),
        ("image-0000/phase-0/picture.png", False),
    ],
)
def test_pictures_and_what_is_told_about_them_are_results(name, expected):
    assert is_result(name) is expected


def test_a_survey_tells_how_far_it_is(shelf, monkeypatch):
    monkeypatch.setattr("app.retention.survey._NOTED_EVERY", 2)
    shelf.order("job")
    shelf.work("job", until=Stage.TILE)
    told = []

    Surveyor(shelf.runtime).look(lambda done, total: told.append((done, total)))

    assert told[:2] == [(2, 0), (4, 0)]
