from __future__ import annotations

import json
import os
import re
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.bootstrap import runtime
from app.cli import cli
from app.cli.options import RequestOptions
from app.cli.serving import celery_arguments, is_rendering
from app.domain.prediction import Predictor, Shape
from app.domain.spec import Priority
from app.entries import entry_of
from app.jobs import JobLedger
from app.planning import plan_request
from app.schemas import RenderRequest, read_request
from tests.support.installation import Installation

ROOT = Path(__file__).parents[3]


def accept(job_id: str, **fields: object) -> JobLedger:
    """A job as `submit` leaves it once it is planned."""
    app = runtime()
    request = read_request({"prompt": "a hill", "width": 256, "height": 192, **fields})
    app.ledger.accept(job_id, request, plan_request(request, app.catalogue, app.settings))
    return app.ledger


def test_plan_tells_a_person_what_would_happen(installation: Installation) -> None:
    result = installation.invoke("plan", "a hill", "--size", "256x192", "--seed", "7")

    assert result.exit_code == 0
    assert "refine: a base picture decides the layout, tiles add detail; " in result.stdout
    assert "the canvas is larger than the model's " in result.stdout
    assert "2 × 24 of 64x64 px" in result.stdout
    assert "2 times the canvas" in result.stdout
    assert "seed 7" in result.stdout
    assert "200 UNet evaluations, 0.819 megapixels" in result.stdout
    assert "kB more by every worker, before compression" in result.stdout
    assert "not known: nothing like it was rendered with this store" in result.stdout
    assert installation.blobs() == []


def test_plan_tells_the_time_that_was_learned_here(installation: Installation) -> None:
    seen = {"base": 768, "prepare": 3072, "tile": 256, "core": 3072}
    predictor = Predictor()
    for stage, area in seen.items():
        predictor.observe(Shape("tiny", stage, float(area), "cpu"), 1.0)
    runtime().store.put("predictions/1.json", json.dumps(predictor.to_record()).encode())

    result = installation.invoke("plan", "a hill", "--size", "256x192", "--seed", "7")

    assert re.search(r"time +about .+ s on cpu: work of one worker, as learned", result.stdout)


def test_plan_json_is_one_canonical_line(installation: Installation) -> None:
    arguments = ("plan", "a hill", "--size", "256x192", "--json")

    first, second = (installation.invoke(*arguments).stdout for _ in range(2))

    summary = json.loads(first)
    assert first == second
    assert first.count("\n") == 1
    assert summary["cost"]["tiles"] == 48
    assert re.fullmatch("[0-9a-f]{64}", summary["plan_hash"])


def test_size_is_width_times_height(installation: Installation) -> None:
    result = installation.invoke("plan", "a hill", "--size", "256x192", "--json")

    assert json.loads(result.stdout)["canvas"] == {"height": 192, "width": 256}


EVERY_OPTION = {
    "prompt": "a hill",
    "negative_prompt": "fog",
    "height": 128,
    "width": 128,
    "count": 2,
    "seed": 9,
    "steps": 6,
    "guidance": 2.5,
    "sampler": "euler",
    "mode": "refine",
    "nsr": 0.5,
    "tile": 48,
    "overlap": 16,
    "upscale": 2,
    "base_model": "",
    "refine_model": "tiny",
    "upscaler": "",
    "init_image": None,
    "init_fit": None,
    "format": "webp",
    "pyramid": True,
    "wrap": "x",
    "blend": "uniform",
    "decoder": "full",
    "regions": [
        {
            "prompt": "a lake = water",
            "negative_prompt": "",
            "box": {"top": 8, "left": 16, "bottom": 56, "right": 80},
            "weight": 1.0,
            "feather": 64,
            "mask": None,
        }
    ],
    "mask": None,
    "rerender": None,
    "depth": None,
    "loras": [],
    "control": None,
    "restore": None,
    "tags": {"by": "me"},
}


def test_every_option_reaches_the_plan(installation: Installation) -> None:
    result = installation.invoke(
        *("plan", "a hill", "--size", "128x128", "--seed", "9", "--steps", "6"),
        *("--guidance", "2.5", "--sampler", "euler", "--model", "tiny", "--mode", "refine"),
        *("--upscale", "2", "--tile", "48", "--overlap", "16", "--negative", "fog"),
        *("--count", "2", "--format", "webp", "--nsr", "0.5", "--tag", "by=me", "--json"),
        *("--wrap", "x", "--blend", "uniform", "--decoder", "full", "--pyramid"),
        *("--region", "64x48+16+8=a lake = water"),
    )

    spec = json.loads(result.stdout)["spec"]
    assert spec | {"upscaler": "", "base_model": ""} == EVERY_OPTION


def test_status_tells_how_far_a_job_is(installation: Installation) -> None:
    accept("job-1")

    result = installation.invoke("status", "job-1", "--json")

    assert json.loads(result.stdout) | {"plan_hash": ""} == {
        "job_id": "job-1",
        "state": "submitted",
        "stage": "base",
        "done": 0,
        "total": 54,
        "pictures": "0/1",
        "reason": None,
        "plan_hash": "",
    }


def test_status_tells_place_and_time_left_as_the_dispatcher_sees_them(
    installation: Installation,
) -> None:
    accept("job-in-line")
    record = {"position": 2, "eta_s": 90.0, "deadline_ms": 1000, "state": "open"}
    runtime().board.show("schedule", "job-in-line", record, ttl_s=60)

    told = json.loads(installation.invoke("status", "job-in-line", "--json").stdout)

    assert told["line"] == "2 before it"
    assert 30 < told["eta_s"] <= 90.0  # it passes while a slow machine answers
    assert told["will_be_late"]


def test_status_tells_of_a_paused_job_that_it_is(installation: Installation) -> None:
    accept("job-paused")
    record = {"position": 2, "eta_s": None, "state": "paused"}
    runtime().board.show("schedule", "job-paused", record, ttl_s=60)

    told = json.loads(installation.invoke("status", "job-paused", "--json").stdout)

    assert (told["line"], told["will_be_late"]) == ("paused", None)


def test_a_paused_job_stays_in_line_until_it_is_resumed(installation: Installation) -> None:
    accept("job-1")
    runtime().entries.add(entry_of("job-1", runtime().ledger.request("job-1")))

    result = installation.invoke("pause", "job-1")

    assert result.stdout == "job job-1 is paused; go on with: tilechord resume job-1\n"
    assert [entry.is_paused for entry in runtime().entries.all()] == [True]


def test_a_job_moves_to_another_class(installation: Installation) -> None:
    accept("job-1")
    runtime().entries.add(entry_of("job-1", runtime().ledger.request("job-1")))

    result = installation.invoke("prioritise", "job-1", "high")

    assert result.stdout == "job job-1 has priority high\n"
    assert [entry.priority for entry in runtime().entries.all()] == [Priority.HIGH]


def test_a_class_that_does_not_exist_is_refused(installation: Installation) -> None:
    accept("job-1")

    result = installation.invoke("prioritise", "job-1", "urgent")

    assert (result.exit_code, result.stderr) == (
        2,
        "tilechord: priority must be high, normal or low, got 'urgent'\n",
    )


@pytest.mark.parametrize(
    ("command", "deed"),
    [(["pause", "job-1"], "paused"), (["prioritise", "job-1", "low"], "moved")],
    ids=["pause", "prioritise"],
)
def test_a_job_that_has_ended_takes_no_orders(
    installation: Installation, command: list[str], deed: str
) -> None:
    accept("job-1").fail("job-1", "the device is gone")

    result = installation.invoke(*command)

    assert (result.exit_code, result.stderr) == (
        2,
        f"tilechord: job job-1 cannot be {deed}, it has failed\n",
    )


def test_status_of_a_failed_job_is_no_failure_of_the_command(installation: Installation) -> None:
    accept("job-1").fail("job-1", "tile 3 of image 0: the device is gone")

    result = installation.invoke("status", "job-1")

    assert result.exit_code == 0
    assert "reason     tile 3 of image 0: the device is gone" in result.stdout


def test_watching_a_failed_job_ends_with_its_reason(installation: Installation) -> None:
    accept("job-1").fail("job-1", "tile 3 of image 0: the device is gone")

    result = installation.invoke("watch", "job-1")

    assert (result.exit_code, result.stderr) == (
        1,
        "tilechord: tile 3 of image 0: the device is gone\n",
    )


def test_a_cancelled_job_is_told_by_status_watch_and_fetch(installation: Installation) -> None:
    accept("job-1")

    assert installation.invoke("cancel", "job-1").stdout == "job job-1 is cancelled\n"
    assert "state      cancelled" in installation.invoke("status", "job-1").stdout
    assert installation.invoke("watch", "job-1").exit_code == 1
    assert installation.invoke("fetch", "job-1").stderr == (
        "tilechord: job job-1 has no picture, it is cancelled\n"
    )


def test_a_job_that_has_ended_cannot_be_cancelled(installation: Installation) -> None:
    accept("job-1").fail("job-1", "no room")

    result = installation.invoke("cancel", "job-1")

    assert (result.exit_code, result.stderr) == (
        2,
        "tilechord: job job-1 cannot be cancelled, it has failed\n",
    )


def test_fetching_an_unfinished_job_says_where_it_stands(installation: Installation) -> None:
    accept("job-1")

    result = installation.invoke("fetch", "job-1", "-o", "out.png")

    assert (result.exit_code, result.stderr) == (
        5,
        "tilechord: job job-1 has no picture, it is submitted\n",
    )
    assert not Path("out.png").exists()


def test_jobs_lists_every_job_one_a_line(installation: Installation) -> None:
    accept("job-1")
    accept("job-2", prompt="two\nlines and a [bracket]", tenant="studio").fail("job-2", "no room")

    result = installation.invoke("jobs")

    assert result.stdout.splitlines() == [
        "job-1\tsubmitted\t0/54\t0/1\t256x192\tnormal\tdefault\ta hill",
        "job-2\tfailed\t0/54\t0/1\t256x192\tnormal\tstudio\ttwo lines and a [bracket]",
    ]


def test_the_newest_job_is_listed_last_whatever_became_of_older_ones(
    installation: Installation,
) -> None:
    for name, age_s in (("b", 30), ("c", 20), ("a", 10)):
        accept(name)
        for path in (installation.store / "jobs" / name).iterdir():
            os.utime(path, (time.time() - age_s,) * 2)
    runtime().ledger.fail("b", "no room")

    listed = json.loads(installation.invoke("jobs", "--json").stdout)

    assert [row["job_id"] for row in listed] == ["b", "c", "a"]


def test_jobs_tells_the_class_that_a_job_was_moved_to(installation: Installation) -> None:
    accept("job-1", priority="low")
    runtime().entries.add(entry_of("job-1", runtime().ledger.request("job-1")))
    installation.invoke("prioritise", "job-1", "high")

    listed = json.loads(installation.invoke("jobs", "--json").stdout)

    assert [(row["job_id"], row["priority"]) for row in listed] == [("job-1", "high")]


def test_jobs_json_of_an_empty_store_is_an_empty_list(installation: Installation) -> None:
    assert json.loads(installation.invoke("jobs", "--json").stdout) == []


def test_workers_of_an_embedded_installation_are_explained(installation: Installation) -> None:
    result = installation.invoke("workers")

    assert result.stdout == "no broker is set: every render runs in the process that asks for it\n"
    assert installation.invoke("workers", "--json").stdout == "[]\n"


def test_models_are_listed_and_verified(installation: Installation) -> None:
    listed = json.loads(installation.invoke("models", "list", "--json").stdout)

    assert [(model["name"], model["native_size"]) for model in listed if "native_size" in model][
        -1
    ] == ("tiny", 64)
    assert installation.invoke("models", "verify", "tiny").stdout == (
        "tiny: 5 files are as in the manifest\n"
    )


def test_a_changed_model_file_is_named(installation: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    for source in (path for path in (installation.models / "tiny").rglob("*") if path.is_file()):
        target = folder / source.relative_to(installation.models / "tiny")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    (folder / "vae" / "config.json").write_text("{}")

    refused = installation.invoke("models", "verify", str(folder))
    trusted = installation.invoke("models", "verify", str(folder), "--write")

    assert refused.exit_code == 3
    assert refused.stderr.startswith(
        "tilechord: model changed: SHA-256 of vae/config.json must be "
    )
    assert trusted.stdout == "changed: wrote the manifest of 5 files\n"
    assert installation.invoke("models", "verify", str(folder)).exit_code == 0


def test_the_env_file_is_read_and_the_environment_wins(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TILECHORD_MODEL")
    monkeypatch.setenv("TILECHORD_MAX_COUNT", "3")
    (tmp_path / "env").write_text(
        "# comment\nexport TILECHORD_MODEL='mona'\nTILECHORD_MAX_COUNT=9\n"
    )

    unknown = installation.invoke("--env-file", "env", "plan", "a hill")
    too_many = installation.invoke(
        "--env-file", "env", "plan", "a hill", "--model", "tiny", "--count", "5"
    )

    monkeypatch.delenv("TILECHORD_MODEL")
    assert "model 'mona' is not known" in unknown.stderr
    assert too_many.stderr == "tilechord: count must be at most 3, got 5\n"


def test_the_version_is_printed() -> None:
    assert re.fullmatch(r"tilechord \d+\.\d+\.\d+\n", CliRunner().invoke(cli, ["--version"]).stdout)


def test_a_rendering_worker_has_a_second_thread_for_the_message_that_is_next(
    installation: Installation,
) -> None:
    arguments = celery_arguments(["gpu"], "left")

    line = " ".join(arguments)
    assert "worker -P threads -c 2 -Q render.gpu.v1 " in line
    assert "--include workers.tasks -n left@%h --without-gossip" in line


def test_a_control_worker_needs_no_rendering_tasks(installation: Installation) -> None:
    assert "--include" not in celery_arguments(["control"], "control")
    assert is_rendering(["control", "gpu"])
    assert not is_rendering(["control"])


def test_every_field_of_a_request_has_an_option(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        entry.name: 1 for entry in fields(RequestOptions) if entry.name not in ("prompt", "size")
    }
    regions, lists = tmp_path / "regions.json", {"region": [], "lora": ["ink"], "tag": ["by=me"]}
    regions.write_text('[{"prompt": "sea"}]')
    files = {"init": Path("a.png"), "mask": Path("b.png"), "regions": regions}
    options = RequestOptions("a hill", size="64x64", **(given | lists | files))

    reached = {*options.to_request(), *options.files}

    assert reached == {*RenderRequest.model_fields} - {"rerender"}  # that has its own command
