from __future__ import annotations

import json
import os

import pytest

from app.bootstrap import build_runtime
from app.cli.output import spoken_bytes
from app.cli.progress import progress
from app.settings import Settings
from tests.support.installation import Installation


@pytest.fixture
def app(installation: Installation):
    """An installation with one cancelled job of a week ago and one open one."""
    made = build_runtime(
        Settings(
            store_url=installation.store.as_uri(),
            models_path=[installation.models],
            model=installation.model,
        )
    )
    installation.accept("cancelled")
    made.ledger.cancel("cancelled")
    made.store.put(f"plans/{made.ledger.plan('cancelled').series}/image-0000/base", b"x" * 5000)
    return made


def let_pass(installation: Installation, days: float) -> None:
    for path in installation.store.rglob("*"):
        if path.is_file():
            stat = path.stat()
            os.utime(path, (stat.st_atime, stat.st_mtime - days * 86400))


def test_what_would_go_is_shown_and_stays(installation: Installation, app) -> None:
    let_pass(installation, 8)
    before = installation.blobs()

    result = installation.invoke("clean")

    assert result.exit_code == 0, result.output
    *rows, total = result.stdout.splitlines()
    assert [row.split("\t")[::2] for row in rows] == [
        ["2", "plans that no result needs, and what lies under them"]
    ]
    assert total.endswith(" kB would go")
    assert "remove it with: tilechord clean --yes" in result.stderr
    assert installation.blobs() == before


def test_it_goes_when_that_is_asked_for(installation: Installation, app) -> None:
    let_pass(installation, 8)

    result = installation.invoke("clean", "--yes")

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("removed ")
    left = [blob for blob in installation.blobs() if not blob.startswith(".sums")]
    assert left == ["jobs/cancelled/cancelled.json", "jobs/cancelled/request.json"]
    assert installation.invoke("clean").stdout == "nothing would go\n"


def test_what_is_young_stays_unless_another_time_is_given(installation: Installation, app) -> None:
    let_pass(installation, 1)

    assert installation.invoke("clean").stdout == "nothing would go\n"

    shown = installation.invoke("clean", "--intermediates-ttl", "3600", "--json")
    found = json.loads(shown.stdout)
    assert {row["what"] for row in found["removals"]} == {"folder"}
    assert found["bytes"] == sum(row["bytes"] for row in found["removals"]) > 5000


def test_a_limit_and_a_time_for_results_can_be_given(installation: Installation, app) -> None:
    limited = installation.invoke("clean", "--limit-gb", "1e-9", "--json")
    expired = installation.invoke("clean", "--results-ttl", "1e-9", "--json")

    assert "job" in {row["what"] for row in json.loads(limited.stdout)["removals"]}
    assert "job" in {row["what"] for row in json.loads(expired.stdout)["removals"]}


def test_scripts_are_told_what_was_removed(installation: Installation, app) -> None:
    let_pass(installation, 8)

    told = json.loads(installation.invoke("clean", "--yes", "--json").stdout)

    assert (told["removed"], told["left"]) == (2, 0)
    assert told["bytes"] > 5000


def test_a_job_without_a_plan_is_still_listed(installation: Installation, app) -> None:
    let_pass(installation, 8)
    installation.invoke("clean", "--yes")

    result = installation.invoke("jobs")

    assert result.exit_code == 0, result.output
    assert result.stdout.split("\t")[:3] == ["cancelled", "cancelled", "-"]


@pytest.mark.parametrize("option", ["--intermediates-ttl", "--results-ttl", "--limit-gb"])
def test_times_and_sizes_are_not_negative(installation: Installation, option: str) -> None:
    assert installation.invoke("clean", option, "-1").exit_code == 2


@pytest.mark.parametrize(
    ("size_bytes", "told"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (3_400_000, "3.4 MB"),
        (10**16, "10000.0 TB"),
    ],
)
def test_bytes_are_spoken_in_the_unit_that_fits(size_bytes: int, told: str) -> None:
    assert spoken_bytes(size_bytes) == told


def test_progress_is_counted_on_a_terminal_alone(monkeypatch, capsys) -> None:
    for is_terminal in (True, False):
        monkeypatch.setattr("sys.stderr.isatty", lambda is_terminal=is_terminal: is_terminal)
        with progress("blobs removed", is_quiet=False) as show:
            show(1, 2)
        told = capsys.readouterr().err
        assert ("blobs removed" in told) is is_terminal
