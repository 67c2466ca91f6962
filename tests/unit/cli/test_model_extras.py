"""LoRAs and control networks on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cards import write_manifest
from app.cli.options import RequestOptions
from tests.support.card_model import write_card_model
from tests.support.installation import Installation


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    write_card_model(root / "tiny")
    for name, file, content in (
        ("ink", "pytorch_lora_weights.safetensors", "weights"),
        ("tile", "config.json", json.dumps({"_class_name": "ControlNetModel"})),
        ("union", "config.json", json.dumps({"_class_name": "ControlNetUnionModel"})),
    ):
        (root / name).mkdir()
        (root / name / file).write_text(content)
        write_manifest(root / name)
    return root


def test_they_reach_the_request() -> None:
    options = RequestOptions("a hill", lora=["ink=0.5", "dry"], control="tile", control_scale=0.7)

    request = options.to_request()

    assert request["loras"] == [{"name": "ink", "weight": 0.5}, {"name": "dry"}]
    assert (request["models"], request["control_scale"]) == ({"control": "tile"}, 0.7)


def test_what_is_left_out_is_no_part_of_the_request() -> None:
    assert {"loras", "models", "control_scale"} & set(
        RequestOptions("a hill").to_request()
    ) == set()


def test_they_reach_the_plan(installation: Installation) -> None:
    order = ["--size", "128x128", "--lora", "ink=0.5", "--control", "tile", "--json"]

    made = json.loads(installation.invoke("plan", "a hill", *order).stdout)

    assert made["spec"]["loras"] == [{"name": "ink", "weight": 0.5}]
    assert made["spec"]["control"] == {"name": "tile", "scale": 1.0}
    assert set(made["models"]) == {"tiny", "LoRA ink", "control tile"}


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (
            ["--lora", "ink=much"],
            2,
            "Invalid value for --lora: must be NAME or NAME=WEIGHT such as ink=0.8, got 'ink=much'",
        ),
        (["--lora", "ink=nan"], 2, "loras.0.weight should be a finite number, got nan"),
        (["--lora", "=1"], 2, "loras.0.name should have at least 1 character, got ''"),
        (["--lora", "wet"], 3, "LoRA 'wet' is not known; known LoRAs: ink"),
        (["--lora", "tile"], 3, "LoRA 'tile' is not known; known LoRAs: ink"),
        (["--lora", "../ink"], 3, "LoRA must be a name without path separators, got '../ink'"),
        (
            ["--control-scale", "1"],
            2,
            "control_scale needs models.control, or a model's own control network and a picture "
            "to hold tiles to, got 1",
        ),
        (
            ["--control", "union"],
            2,
            "control network union must be of class ControlNetModel, got ControlNetUnionModel",
        ),
    ],
    ids=["words", "nan", "no-name", "unknown", "another-kind", "path", "scale-alone", "union"],
)
def test_bad_ones_earn_one_sentence(
    installation: Installation, options: list[str], code: int, sentence: str
) -> None:
    result = installation.invoke("plan", "a hill", "--size", "128x128", *options)

    assert result.stderr == f"tilechord: {sentence}\n"
    assert (result.exit_code, result.stdout) == (code, "")


def test_they_are_listed_with_what_they_are_for(installation: Installation) -> None:
    listed = json.loads(installation.invoke("models", "list", "--json").stdout)

    kinds = {row["name"]: row.get("kind") or row["problem"] for row in listed}
    assert kinds == {
        "atlas": "model, sd",
        "tiny": "model, sd",
        "ink": "LoRA",
        "tile": "control network, sd",
        "union": "control network union must be of class ControlNetModel, got ControlNetUnionModel",
    }


def test_they_are_verified_by_name_and_by_folder(installation: Installation) -> None:
    by_name = installation.invoke("models", "verify", "ink").stdout

    assert by_name == "ink: 1 files are as in the manifest\n"
    assert installation.invoke("models", "verify", str(installation.models / "ink")).stdout == (
        by_name
    )


def test_all_are_verified_when_none_is_named(installation: Installation) -> None:
    told = installation.invoke("models", "verify").stdout.splitlines()

    assert sorted(line.split(":")[0] for line in told) == ["atlas", "ink", "tile", "tiny", "union"]
