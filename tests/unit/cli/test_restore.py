"""A restoration network on the command line, and in orders to paint a part anew."""

from __future__ import annotations

import json

import pytest

from app import client
from app.bootstrap import runtime
from app.cli.options import RequestOptions
from app.domain.geometry import Box
from app.planning import plan_request
from tests.support.installation import Installation
from tests.unit.cli.test_rerender import accept, finish

UPSCALERS = {"deblur": {"path": "/srv/deblur.safetensors", "sha256": "d" * 64, "padding": 20}}


@pytest.fixture
def restoring(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """An installation that was told of one network of its own."""
    monkeypatch.setenv("TILECHORD_UPSCALERS", json.dumps(UPSCALERS))
    return installation


def test_it_reaches_the_request_beside_the_other_networks() -> None:
    options = {"base": "base_model", "upscale": "upscaler", "control": "control"}
    named = {option: f"a-{stage}" for stage, option in options.items()}
    all_four = RequestOptions("a hill", restore="deblur", **named).to_request()

    assert all_four["models"] == {stage: f"a-{stage}" for stage in options} | {"restore": "deblur"}
    assert RequestOptions("a hill", restore="deblur").to_request()["models"] == {
        "restore": "deblur"
    }


def test_a_plan_tells_by_what_cores_are_restored(restoring: Installation) -> None:
    order = ["plan", "a hill", "--size", "128x128", "--restore", "deblur"]

    told = restoring.invoke(*order).stdout
    made = json.loads(restoring.invoke(*order, "--json").stdout)

    assert "restored by deblur, upscale 1\n" in told
    assert "restored" not in restoring.invoke("plan", "a hill", "--size", "128x128").stdout
    assert made["spec"]["restore"] == "deblur"
    assert made["models"]["restorer deblur"] == "d" * 64


@pytest.mark.parametrize(
    ("name", "code", "sentence"),
    [
        (
            "sharpen",
            2,
            "models.restore must be a network of TILECHORD_UPSCALERS (deblur), got 'sharpen'",
        ),
        ("x" * 201, 2, "models.restore should have at most 200 characters, got "),
    ],
    ids=["unknown", "long"],
)
def test_a_bad_one_earns_one_sentence(
    restoring: Installation, name: str, code: int, sentence: str
) -> None:
    result = restoring.invoke("plan", "a hill", "--size", "128x128", "--restore", name)

    assert result.stderr.startswith(f"tilechord: {sentence}")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (code, "", 1)


def test_a_part_that_is_painted_anew_is_restored_like_its_picture(restoring: Installation) -> None:
    finish(accept(models={"restore": "deblur"}))

    request = client.rerender_request("job-1", Box(0, 0, 50, 60), seed=9)

    assert request.models.restore == "deblur"
    plan = plan_request(request, runtime().catalogue, runtime().settings, runtime().store.get)
    assert plan.revisions["restorer deblur"] == "d" * 64


def test_a_part_may_be_restored_in_a_picture_that_is_not(restoring: Installation) -> None:
    finish(accept())

    request = client.rerender_request(
        "job-1", Box(0, 0, 50, 60), seed=9, models={"restore": "deblur"}
    )

    plan = plan_request(request, runtime().catalogue, runtime().settings, runtime().store.get)
    assert plan.is_edit
    assert plan.spec.restore == "deblur"
