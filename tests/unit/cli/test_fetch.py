"""Pictures on their way from the store to a file."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import client
from app.bootstrap import runtime
from app.cli import broker
from app.domain.errors import NotFoundError
from app.domain.plan import RenderPlan
from app.planning import plan_request
from app.schemas import Manifest, PictureRecord, read_request
from app.settings import settings
from tests.support.installation import Installation

KEY = "plans/one/image-0.png"


def accept() -> RenderPlan:
    """A job that is planned."""
    app = runtime()
    request = read_request({"prompt": "a hill", "width": 64, "height": 64})
    plan = plan_request(request, app.catalogue, app.settings)
    app.ledger.accept("job-1", request, plan)
    return plan


def finish(size_bytes: int) -> Manifest:
    """A job that has ended with a picture of zeros."""
    app, plan = runtime(), accept()
    app.store.put(KEY, bytes(size_bytes))
    picture = PictureRecord(
        key=KEY, height=64, width=64, format="png", sha256="0" * 64, size_bytes=size_bytes
    )
    return app.ledger.finish(
        Manifest(
            job_id="job-1",
            plan_hash=plan.hash,
            images=[picture],
            quality={},
            timings={},
            workers={},
            executions=1,
            units=1,
        )
    )


def test_fetch_replaces_what_was_there(installation: Installation, tmp_path: Path) -> None:
    finish(5_000_000)
    (tmp_path / "out.png").write_bytes(b"before")

    result = installation.invoke("fetch", "job-1", "-o", "out.png")

    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[0] == "out.png"
    assert (tmp_path / "out.png").read_bytes() == bytes(5_000_000)


def test_a_client_is_given_urls_that_are_valid_from_now(installation: Installation) -> None:
    finish(1)

    manifest = client.result("job-1")

    assert [image.url for image in manifest.images] == [(installation.store / KEY).as_uri()]


def test_a_client_is_told_why_there_is_no_result(installation: Installation) -> None:
    accept()
    runtime().ledger.fail("job-1", "tile 3 of image 0: the device is gone")

    with pytest.raises(NotFoundError) as refusal:
        client.result("job-1")

    assert str(refusal.value) == (
        "job job-1 has no picture, it is failed: tile 3 of image 0: the device is gone"
    )


def test_a_damaged_picture_replaces_nothing(installation: Installation, tmp_path: Path) -> None:
    finish(5_000_000)
    (installation.store / KEY).write_bytes(bytes(4_999_999))
    (tmp_path / "out.png").write_bytes(b"before")

    result = installation.invoke("fetch", "job-1", "-o", "out.png")

    assert result.exit_code == 1
    assert result.stderr == (
        f"tilechord: blob {KEY} in {installation.store} does not match its SHA-256\n"
    )
    assert (tmp_path / "out.png").read_bytes() == b"before"
    assert list(tmp_path.glob("*.part")) + list(tmp_path.glob(".*.part")) == []


def test_a_large_picture_is_saved_in_little_memory(
    installation: Installation, tmp_path: Path
) -> None:
    manifest = finish(30_000_000)
    tracemalloc.start()

    client.save(manifest, tmp_path / "out.png")

    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 5_000_000
    assert (tmp_path / "out.png").stat().st_size == 30_000_000


def test_a_source_that_breaks_off_leaves_nothing_behind(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"):
        client.write_file(tmp_path / "out.png", pieces(), size_bytes=8)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [["fetch"], ["fetch", "--partial"], ["resume"], ["quality", "--repair-seams"]],
    ids=["fetch", "fetch partial", "resume", "repair"],
)
def test_a_name_of_another_format_is_refused_before_anything_is_written(
    installation: Installation, tmp_path: Path, command: list[str]
) -> None:
    finish(1)

    result = installation.invoke(*command, "job-1", "-o", "out.jpg")

    assert (result.exit_code, result.stderr) == (
        2,
        "tilechord: Invalid value for --output: must fit the stored picture, which is png, "
        "got 'out.jpg'\n",
    )
    assert not (tmp_path / "out.jpg").exists()


def test_an_unfinished_job_is_not_sent_on_for_a_name_of_another_format(
    installation: Installation,
) -> None:
    accept()

    result = installation.invoke("resume", "job-1", "-o", "out.webp")

    assert result.exit_code == 2
    assert runtime().entries.all() == []


def test_a_name_without_a_suffix_says_nothing_of_the_format(
    installation: Installation, tmp_path: Path
) -> None:
    finish(3)

    assert installation.invoke("fetch", "job-1", "-o", "out").exit_code == 0
    assert (tmp_path / "out").read_bytes() == bytes(3)


def test_a_script_that_resumes_on_a_cluster_gets_one_document(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept()
    monkeypatch.setenv("TILECHORD_BROKER_URL", "amqp://127.0.0.1:1")
    monkeypatch.setattr(broker, "require_broker", lambda wish: "3.13")
    monkeypatch.setattr(client, "resume", lambda job_id: True)
    settings.cache_clear()
    runtime.cache_clear()

    result = installation.invoke("resume", "job-1", "--json")

    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {"job_id": "job-1"}
