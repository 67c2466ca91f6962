"""What a process of its own says, and how soon, when its servers do not answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.card_model import write_card_model
from tests.support.installation import Installation

# A port that nothing listens on: it is reserved and no service was ever given it.
NOWHERE = "127.0.0.1:1"
GONE = {
    "TILECHORD_BROKER_URL": f"amqp://user:secret@{NOWHERE}//",
    "TILECHORD_RESULT_BACKEND": f"redis://:secret@{NOWHERE}/0",
}


@pytest.fixture
def site(tmp_path: Path) -> Installation:
    """An installation whose servers are gone."""
    write_card_model(tmp_path / "models" / "tiny")
    return Installation(tmp_path, tmp_path / "models", "tiny", GONE)


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit", "a hill"],
        ["render", "a hill", "--cluster"],
        ["worker", "--queues", "control"],
    ],
    ids=["submit", "render", "worker"],
)
def test_a_broker_that_does_not_answer_is_told_without_its_password(
    arguments: list[str], site: Installation
) -> None:
    result = site.run(*arguments)

    assert (result.returncode, result.stdout) == (4, "")
    assert result.stderr.splitlines()[-1] == (
        "tilechord: broker amqp://user:**@127.0.0.1:1// does not answer "
        "([Errno 111] Connection refused)"
    )
    assert "secret" not in result.stderr
    assert "Traceback" not in result.stderr
    assert site.blobs() == []


def test_a_board_that_does_not_answer_is_told_without_its_password(site: Installation) -> None:
    result = site.run("workers")

    assert (result.returncode, result.stdout) == (4, "")
    assert result.stderr == (
        "tilechord: live board redis://:**@127.0.0.1:1/0 does not answer (ConnectionError)\n"
    )


def test_delay_tells_that_the_broker_does_not_answer(site: Installation) -> None:
    broker_only = replace(site, overrides=GONE | {"TILECHORD_RESULT_BACKEND": "cache+memory://"})

    result = broker_only.python(
        "from app.tasks import render\n"
        "from app.domain.errors import BrokerUnavailableError\n"
        "try:\n"
        "    render.delay({'prompt': 'a hill'})\n"
        "except BrokerUnavailableError as err:\n"
        "    raise SystemExit(str(err))\n"
    )

    assert result.stderr.splitlines()[-1] == (
        "broker amqp://user:**@127.0.0.1:1// does not answer ([Errno 111] Connection refused)"
    )
    assert site.blobs() == []


@pytest.mark.parametrize(
    ("call", "server"),
    [
        ("client.submit({'prompt': 'a hill'})", "broker amqp://user:**@127.0.0.1:1//"),
        ("client.resume('job-1')", "results backend redis://:**@127.0.0.1:1/0"),
    ],
    ids=["submit", "resume"],
)
def test_a_client_is_told_within_ten_seconds_what_does_not_answer(
    call: str, server: str, site: Installation
) -> None:
    site.accept("job-1")

    result = site.python(
        "import time\n"
        "from app import client, tasks\n"
        "from app.domain.errors import BrokerUnavailableError\n"
        "started = time.monotonic()\n"
        "try:\n"
        f"    {call}\n"
        "except BrokerUnavailableError as err:\n"
        "    print(time.monotonic() - started)\n"
        "    raise SystemExit(str(err))\n"
    )

    assert result.stderr.splitlines()[-1].startswith(f"{server} does not answer")
    assert float(result.stdout) < 10


def test_a_worker_asks_a_results_backend_that_is_down_without_end(site: Installation) -> None:
    result = site.python(
        "from app.celery import celery\n"
        "celery.Worker(hostname='one@here', pool='threads')\n"
        "policy = celery.backend.retry_policy\n"
        "print(policy['max_retries'], policy['timeout'], celery.backend.max_retries)\n"
    )

    assert result.stdout == "None None inf\n", result.stderr
