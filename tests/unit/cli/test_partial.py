"""Pictures of a batch that has no result yet, or never will."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app import client
from app.bootstrap import runtime
from app.cli.following import BarReporter
from app.cli.partial import spoken_numbers
from app.domain.errors import NotFoundError
from app.domain.plan import RenderPlan, canonical_json
from app.domain.work import Progress, Stage, Work
from app.manifests import manifest_of
from app.planning import plan_request
from app.schemas import read_request
from tests.support.installation import Installation

COUNT = 11
STATES = {
    "open": ("running", ""),
    "failed": ("failed", ": tile 3 of image 5: the device is gone"),
    "cancelled": ("cancelled", ""),
}


def accept(count: int = COUNT) -> RenderPlan:
    """A batch that is planned."""
    app = runtime()
    request = read_request({"prompt": "a hill", "width": 64, "height": 64, "count": count})
    plan = plan_request(request, app.catalogue, app.settings)
    app.ledger.accept("job-1", request, plan)
    return plan


def finish(plan: RenderPlan, *images: int) -> None:
    """What the assembly leaves of each picture, which holds its number and no pixels."""
    store = runtime().store
    for image in images:
        key = Work(Stage.PICTURE, image).key(plan)
        small = {"key": f"{key}.thumbnail.jpg", "height": 64, "width": 64}
        record = {"height": 64, "width": 64, "format": "png", "sha256": "0" * 64}
        record |= {"size_bytes": 1, "thumbnail": small}
        store.put(f"{key}.json", canonical_json(record))
        store.put(f"plans/{plan.hash}/image-{image:04d}/quality.json", b"{}")
        store.put(key, b"%d" % image)


def end(state: str) -> None:
    ledger = runtime().ledger
    if state == "failed":
        ledger.fail("job-1", "tile 3 of image 5: the device is gone")
    if state == "cancelled":
        ledger.cancel("job-1")


@pytest.fixture(params=STATES)
def state(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_finished_pictures_are_listed_as_the_manifest_will_have_them(
    installation: Installation, state: str
) -> None:
    plan = accept()
    finish(plan, 0, 3, 10)
    end(state)

    found = client.pictures("job-1")

    finish(plan, *range(COUNT))
    manifest = manifest_of(runtime().store, plan, "job-1", [], cached=False)
    images = runtime().ledger.finish(manifest).images
    assert found == {image: images[image] for image in (0, 3, 10)}
    assert found[3].thumbnail is not None
    assert found[3].thumbnail.url.endswith("thumbnail.jpg")
    assert client.pictures("job-1") == dict(enumerate(images))


def test_a_picture_whose_record_is_gone_is_not_listed(installation: Installation) -> None:
    plan = accept()
    finish(plan, 0, 3)
    runtime().store.delete(f"{Work(Stage.PICTURE, 0).key(plan)}.json")

    assert list(client.pictures("job-1")) == [3]


def test_a_job_without_a_plan_has_no_pictures(installation: Installation) -> None:
    runtime().ledger.submit("job-1", read_request({"prompt": "a hill"}))

    assert client.pictures("job-1") == {}


def test_pictures_of_an_unknown_job_are_refused(installation: Installation) -> None:
    with pytest.raises(NotFoundError, match=r"^job job-1 is not known$"):
        client.pictures("job-1")


def test_partial_writes_what_there_is_under_its_final_name(
    installation: Installation, tmp_path: Path, state: str
) -> None:
    finish(accept(), 0, 3, 10)
    end(state)

    result = installation.invoke("fetch", "job-1", "--partial", "-o", "out.png")

    assert (result.exit_code, result.stdout) == (0, "out-00.png\nout-03.png\nout-10.png\n")
    standing = "{}{}".format(*STATES[state])
    assert result.stderr == (
        f"job job-1 has 3 of 11 pictures, it is {standing}; missing: 1 to 2, 4 to 9\n"
    )
    assert (tmp_path / "out-03.png").read_bytes() == b"3"
    assert len(list(tmp_path.glob("out*"))) == 3


def test_partial_tells_a_script_what_is_there_and_what_is_missing(
    installation: Installation,
) -> None:
    finish(accept(3), 0, 2)

    result = installation.invoke("fetch", "job-1", "--partial", "--json")

    told = json.loads(result.stdout)
    assert (told["state"], told["count"], told["missing"]) == ("running", 3, [1])
    assert told["files"] == ["job-1-0.png", "job-1-2.png"]
    assert [(image["image"], image["size_bytes"]) for image in told["images"]] == [(0, 1), (2, 1)]


def test_partial_of_a_finished_job_misses_nothing(installation: Installation) -> None:
    plan = accept(2)
    finish(plan, 0, 1)
    runtime().ledger.finish(manifest_of(runtime().store, plan, "job-1", [], cached=False))

    result = installation.invoke("fetch", "job-1", "--partial", "-o", "out.png")

    assert (result.stdout, result.stderr) == ("out-0.png\nout-1.png\n", "")


def test_partial_of_a_job_without_pictures_is_refused(installation: Installation) -> None:
    accept()

    result = installation.invoke("fetch", "job-1", "--partial")

    assert (result.exit_code, result.stderr) == (
        5,
        "tilechord: job job-1 has no picture, it is submitted\n",
    )


def test_fetch_of_a_batch_that_failed_tells_how_many_pictures_there_are(
    installation: Installation,
) -> None:
    finish(accept(), 0, 3, 10)
    end("failed")

    result = installation.invoke("fetch", "job-1")

    assert (result.exit_code, result.stderr) == (
        5,
        "tilechord: job job-1 has 3 of 11 pictures, it is failed: "
        "tile 3 of image 5: the device is gone\n",
    )


@pytest.mark.parametrize(
    ("count", "said"), [(1, "units\n"), (2, "units, 2 of 2 pictures\n")], ids=["one", "batch"]
)
def test_whoever_watches_a_batch_hears_how_many_pictures_are_done(
    installation: Installation, count: int, said: str
) -> None:
    plan = accept(count)
    finish(plan, *range(count))
    runtime().ledger.finish(manifest_of(runtime().store, plan, "job-1", [], cached=False))

    result = installation.invoke("watch", "job-1")

    assert result.exit_code == 0
    assert result.stderr.endswith(said)


def test_a_bar_counts_pictures_beside_units(capsys: pytest.CaptureFixture[str]) -> None:
    with BarReporter() as board:
        board.show(Progress(12, 20, Stage.TILE), "", "1 of 2 pictures")

    assert "12 of 20 units, 1 of 2 pictures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("numbers", "said"),
    [([3], "3"), ([0, 1, 2], "0 to 2"), ([1, 3, 4, 9], "1, 3 to 4, 9")],
    ids=["one", "a row", "mixed"],
)
def test_numbers_in_a_row_are_told_as_one(numbers: list[int], said: str) -> None:
    assert spoken_numbers(numbers) == said
