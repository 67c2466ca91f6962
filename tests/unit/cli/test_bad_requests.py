from __future__ import annotations

from typing import Any

import pytest

from app import workflow
from app.bootstrap import runtime
from app.domain.errors import ConfigurationError, InvalidRequestError, RenderError
from app.schemas import read_request
from app.tasks import render
from tests.support.installation import Installation
from tests.unit.cli.bad_requests import BROKEN_RULES, MISSING_INPUTS, UNPLANNABLE

GOOD = {"prompt": "a hill", "width": 256, "height": 192}


def case_ids(cases: list[tuple[str, dict[str, Any], str]]) -> list[str]:
    return [case[0] for case in cases]


@pytest.mark.parametrize(
    ("fields", "sentence"), [case[1:] for case in BROKEN_RULES], ids=case_ids(BROKEN_RULES)
)
def test_delay_refuses_a_broken_rule_where_it_is_sent(
    fields: dict[str, Any], sentence: str, installation: Installation
) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        render.delay(GOOD | fields)

    assert str(refusal.value) == sentence
    assert installation.blobs() == []


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (None, "request must be a mapping of fields, got NoneType"),
        ("a hill", "request must be a mapping of fields, got str"),
        ([1, 2], "request must be a mapping of fields, got list"),
        ({}, "prompt is required"),
    ],
    ids=["nothing", "text", "list", "empty"],
)
def test_delay_refuses_what_is_no_request(
    payload: object, sentence: str, installation: Installation
) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        render.delay(payload)

    assert str(refusal.value) == sentence
    assert installation.blobs() == []


def test_delay_refuses_to_send_where_nobody_would_answer(installation: Installation) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        render.delay(GOOD)

    assert str(refusal.value) == (
        "TILECHORD_BROKER_URL is not set and no worker runs in this process; "
        "set it, or render inside `with app.embedded.worker():`"
    )
    assert installation.blobs() == []


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [case[1:] for case in [*BROKEN_RULES, *UNPLANNABLE, *MISSING_INPUTS]],
    ids=case_ids([*BROKEN_RULES, *UNPLANNABLE, *MISSING_INPUTS]),
)
def test_the_worker_refuses_a_bad_request_and_records_nothing(
    fields: dict[str, Any], sentence: str, installation: Installation
) -> None:
    with pytest.raises(RenderError) as refusal:
        workflow.start(runtime(), "job-1", read_request(GOOD | fields))

    assert str(refusal.value) == sentence
    assert installation.blobs() == []


@pytest.mark.parametrize(
    "job_id",
    ["../../etc/passwd", "a/b", "", "A", "a" * 101, ".hidden", "a\x00b"],
    ids=["parent", "slash", "empty", "capital", "long", "hidden", "null"],
)
def test_a_job_id_cannot_leave_its_folder(job_id: str, installation: Installation) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        workflow.start(runtime(), job_id, read_request(GOOD))

    assert str(refusal.value) == (
        f"job id must be up to 100 characters of a-z, 0-9, '.', '_', '-', got {job_id[:60]!r}"
    )
    assert installation.blobs() == []
