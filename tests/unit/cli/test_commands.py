from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.cli.options import RequestOptions
from app.cli.serving import celery_arguments, is_rendering
from app.schemas import RenderRequest
from tests.support.installation import Installation

ROOT = Path(__file__).parents[3]


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
