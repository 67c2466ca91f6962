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
