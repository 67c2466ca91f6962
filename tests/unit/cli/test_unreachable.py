from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from app.domain.errors import BrokerUnavailableError, ConfigurationError, InvalidRequestError
from app.queues import broker_error
from app.storage.s3 import bounded_pool
from app.tasks import render
from tests.support.installation import Installation

# A port that nothing listens on: it is reserved and no service was ever given it.
NOWHERE = "127.0.0.1:1"


class RefusingServer(BaseHTTPRequestHandler):
    """An S3 server that knows nobody."""

    def _refuse(self) -> None:
        body = b"<Error><Code>InvalidAccessKeyId</Code><Message>no</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = _refuse  # noqa: N815

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002


@pytest.fixture
def refusing_server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), RefusingServer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def cluster(installation: Installation, **overrides: str) -> Installation:
    variables = {f"TILECHORD_{name}": value for name, value in overrides.items()}
    return Installation(installation.root, installation.models, installation.model, variables)


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit", "a hill"],
        ["render", "a hill", "--cluster"],
        ["workers"],
        ["worker", "--queues", "control"],
    ],
    ids=["submit", "render", "workers", "worker"],
)
def test_a_broker_that_does_not_answer_is_told_without_its_password(
    arguments: list[str], installation: Installation
) -> None:
    site = cluster(
        installation,
        BROKER_URL=f"amqp://user:secret@{NOWHERE}//",
        RESULT_BACKEND=f"redis://{NOWHERE}/0",
    )

    result = site.run(*arguments)

    assert (result.returncode, result.stdout) == (4, "")
    assert result.stderr.splitlines()[-1] == (
        "tilechord: broker amqp://user:**@127.0.0.1:1// does not answer "
        "([Errno 111] Connection refused)"
    )
    assert "secret" not in result.stderr
    assert "Traceback" not in result.stderr
    assert site.blobs() == []


def test_delay_tells_that_the_broker_does_not_answer(installation: Installation) -> None:
    site = cluster(installation, BROKER_URL=f"amqp://{NOWHERE}", RESULT_BACKEND="cache+memory://")

    result = site.python(
        "from app.tasks import render\n"
        "from app.domain.errors import BrokerUnavailableError\n"
        "try:\n"
        "    render.delay({'prompt': 'a hill'})\n"
        "except BrokerUnavailableError as err:\n"
        "    raise SystemExit(str(err))\n"
    )

    assert result.stderr.splitlines()[-1] == (
        "broker amqp://guest:**@127.0.0.1:1// does not answer ([Errno 111] Connection refused)"
    )
    assert site.blobs() == []


def test_a_worker_asks_a_results_backend_that_is_down_without_end(
    installation: Installation,
) -> None:
    site = cluster(
        installation, BROKER_URL=f"amqp://{NOWHERE}", RESULT_BACKEND=f"redis://{NOWHERE}/0"
    )

    result = site.python(
        "from app.celery import celery\n"
        "celery.Worker(hostname='one@here', pool='threads')\n"
        "policy = celery.backend.retry_policy\n"
        "print(policy['max_retries'], policy['timeout'], celery.backend.max_retries)\n"
    )

    assert result.stdout == "None None inf\n", result.stderr


@pytest.mark.parametrize(
    ("args", "kwargs", "count"),
    [([{"prompt": "a"}, 7], {}, 2), ([{"prompt": "a"}], {"model": "tiny"}, 2), ([], {}, 0)],
    ids=["positional", "named", "none"],
)
def test_delay_takes_a_request_and_nothing_else(
    args: list[object], kwargs: dict[str, object], count: int
) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        render.delay(*args, **kwargs)

    assert str(refusal.value) == f"render takes one request, got {count} arguments"


def test_wrong_broker_credentials_are_a_setting_to_correct() -> None:
    error = broker_error("amqp://user:secret@host//", Exception("(403) ACCESS_REFUSED - Login"))

    assert isinstance(error, ConfigurationError)
    assert str(error) == "broker amqp://user:**@host:5672// refuses these credentials"


def test_other_broker_errors_may_pass() -> None:
    error = broker_error("amqp://host//", OSError("timed out"))

    assert isinstance(error, BrokerUnavailableError)


@pytest.mark.parametrize(
    "arguments",
    [["jobs"], ["status", "x"], ["fetch", "x"], ["cancel", "x"], ["resume", "x"]],
    ids=lambda arguments: arguments[0],
)
def test_a_store_that_does_not_answer_is_told(
    arguments: list[str], installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILECHORD_STORE_URL", "s3://bucket")
    monkeypatch.setenv("TILECHORD_S3_ENDPOINT", NOWHERE)
    monkeypatch.setattr("app.storage.open.bounded_pool", partial(bounded_pool, backoff_s=0.01))

    result = installation.invoke(*arguments)

    assert result.exit_code == 4
    assert result.stderr.startswith("tilechord: bucket bucket does not answer for blob ")
    assert result.stderr.count("\n") == 1


def test_wrong_store_credentials_are_a_setting_to_correct(
    refusing_server: str, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILECHORD_STORE_URL", "s3://bucket")
    monkeypatch.setenv("TILECHORD_S3_ENDPOINT", refusing_server)
    monkeypatch.setenv("TILECHORD_S3_ACCESS_KEY", "somebody")
    monkeypatch.setenv("TILECHORD_S3_SECRET_KEY", "guess")

    result = installation.invoke("jobs")

    assert result.exit_code == 3
    assert result.stderr == (
        "tilechord: S3 credentials must be allowed to use bucket bucket, got InvalidAccessKeyId\n"
    )
