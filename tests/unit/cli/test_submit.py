"""What `tilechord submit` tells of a job that was taken; no broker is asked."""

from __future__ import annotations

import json

import pytest

from app import client
from app.cli import broker
from app.expectation import Expectation
from tests.support.installation import Installation


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the client, in order; a worker begins in 40 s."""
    made: list[str] = []

    def estimate(request: object) -> Expectation:
        made.append("estimate")
        return Expectation(40.0, None)

    def submit(request: object) -> str:
        made.append("submit")
        return "job-1"

    monkeypatch.setattr(broker, "require_broker", lambda wish: "3.13")
    monkeypatch.setattr(client, "estimate", estimate)
    monkeypatch.setattr(client, "submit", submit)
    return made


def test_when_to_expect_a_job_is_told_beside_its_id(
    installation: Installation, calls: list[str]
) -> None:
    result = installation.invoke("submit", "a hill")

    assert (result.exit_code, result.stdout) == (0, "job-1\n")
    assert result.stderr.splitlines()[-1] == "begin: in about 40 s, done: not known"


def test_programs_get_the_seconds(installation: Installation, calls: list[str]) -> None:
    result = installation.invoke("submit", "a hill", "--json")

    assert json.loads(result.stdout) == {"job_id": "job-1", "begin_s": 40.0, "finish_s": None}


def test_the_job_is_not_counted_among_those_before_it(
    installation: Installation, calls: list[str]
) -> None:
    installation.invoke("submit", "a hill")

    assert calls == ["estimate", "submit"]
