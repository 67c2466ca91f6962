"""How the S3 adapter reports failures, against small HTTP servers that misbehave."""

import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from minio import Minio

from app.domain.errors import (
    ConfigurationError,
    CorruptBlobError,
    NotFoundError,
    StorageFullError,
    StorageUnavailableError,
)
from app.storage.s3 import S3Store, bounded_pool
from tests.support.held import frees_its_caller


@pytest.fixture
def serve():
    """Start a server that answers every request alike; returns a store that talks to it."""
    servers = []

    def start(status: int, body: bytes = b"", **headers: str) -> S3Store:
        class Answer(BaseHTTPRequestHandler):
            def answer(self):
                self.server.seen.append((self.command, dict(self.headers)))
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                sent = {"Content-Length": str(len(body)), "Content-Type": "application/xml"}
                for name, value in {**sent, **headers}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815

            def log_message(self, *arguments):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        server.seen = []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        store = connect(server.server_port)
        store.requests = server.seen
        return store

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def connect(port: int) -> S3Store:
    client = Minio(
        f"127.0.0.1:{port}",
        access_key="key",
        secret_key="secret",
        secure=False,
        region="us-east-1",
        http_client=bounded_pool(connect_s=0.3, read_s=0.5, backoff_s=0.01),
    )
    return S3Store(client, "bucket", prefix="", url_expiry_s=60)


def error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()


def calls(store: S3Store):
    return [
        lambda: store.put("tile", b"x"),
        lambda: store.get("tile"),
        lambda: store.keys(""),
        lambda: store.delete("tile"),
        store.probe,
    ]


def test_nobody_listening_is_a_storage_failure():
    for call in calls(connect(port=1)):
        with pytest.raises(StorageUnavailableError, match=r"^bucket bucket does not answer for"):
            call()


@pytest.mark.parametrize("code", ["InternalError", "SlowDown", "XMinioStorageFull"])
def test_a_server_in_trouble_is_a_storage_failure(serve, code):
    for call in calls(serve(507, error(code)))[:-1]:
        with pytest.raises(StorageUnavailableError) as failed:
            call()
        assert str(failed.value).startswith("bucket bucket cannot serve blob ")
        assert str(failed.value).endswith(f": {code}")


@pytest.mark.parametrize("status", [404, 502, 503, None], ids=str)
def test_nothing_of_a_caller_stays_in_memory_after_a_failure(serve, status, caplog):
    """A renderer that asks whether its job is wanted goes on when the store does not answer."""
    caplog.set_level("ERROR", "urllib3")  # pytest keeps what it logs, and the error with it
    store = connect(port=1) if status is None else serve(status, error("NoSuchKey"))

    def ask():
        with suppress(NotFoundError, StorageUnavailableError):
            store.exists("tile")

    assert frees_its_caller(ask)


def test_a_bucket_without_room_is_told_from_one_that_is_away(serve):
    with pytest.raises(StorageFullError):
        serve(507, error("XMinioStorageFull")).put("tile", b"x")
    with pytest.raises(StorageUnavailableError) as away:
        serve(503, error("SlowDown")).put("tile", b"x")

    assert not isinstance(away.value, StorageFullError)


def test_a_passing_failure_is_retried_a_bounded_number_of_times(serve):
    store = serve(503, error("SlowDown"))

    with pytest.raises(StorageUnavailableError):
        store.put("tile", b"x")

    assert len(store.requests) == 4


def test_a_gateway_page_instead_of_an_answer_is_a_storage_failure(serve):
    store = serve(502, b"<html>bad gateway</html>", Content_Type="text/html")

    with pytest.raises(StorageUnavailableError, match=r"does not answer for blob tile"):
        store.get("tile")


@pytest.mark.parametrize("code", ["AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId"])
def test_refused_credentials_are_a_wrong_setting(serve, code):
    for call in calls(serve(403, error(code))):
        with pytest.raises(ConfigurationError) as refused:
            call()
        assert str(refused.value).startswith(
            "S3 credentials must be allowed to use bucket bucket, got "
        )


def test_a_missing_bucket_is_a_wrong_setting(serve):
    with pytest.raises(ConfigurationError) as refused:
        serve(404, error("NoSuchBucket")).get("tile")

    assert str(refused.value) == (
        "bucket bucket of TILECHORD_STORE_URL does not exist; create it, or let "
        "`tilechord doctor` do so with credentials that may"
    )


def test_a_missing_blob_is_not_found(serve):
    with pytest.raises(NotFoundError, match=r"^blob tile does not exist in bucket bucket$"):
        serve(404, error("NoSuchKey")).get("tile")


def test_a_server_without_conditional_writes_is_a_wrong_setting(serve):
    with pytest.raises(ConfigurationError) as refused:
        serve(501, error("NotImplemented")).put("tile", b"x")

    assert str(refused.value) == "bucket bucket refuses blob tile: NotImplemented"


def test_a_taken_key_is_no_failure(serve):
    assert serve(412, error("PreconditionFailed")).put("tile", b"x") is False


def test_a_conflicting_write_may_be_tried_again(serve):
    with pytest.raises(StorageUnavailableError, match=r"ConditionalRequestConflict$"):
        serve(409, error("ConditionalRequestConflict")).put("tile", b"x")


def test_every_write_is_conditional_and_carries_its_checksum(serve, tmp_path):
    store = serve(200, ETag='"e"')
    source = tmp_path / "file"
    source.write_bytes(b"abc")

    store.put("tile", b"abc")
    store.put_file("tile.png", source)

    for method, headers in store.requests:
        assert method == "PUT"
        assert headers["If-None-Match"] == "*"
        assert headers["x-amz-meta-sha256"] == (
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )
    assert store.requests[1][1]["Content-Type"] == "image/png"


def test_a_blob_without_a_checksum_is_corrupt(serve):
    with pytest.raises(CorruptBlobError):
        serve(200, b"pixels").get("tile")


def test_a_store_that_ignores_the_condition_does_not_pass_the_probe(serve):
    with pytest.raises(ConfigurationError, match=r"got 8 winners$"):
        serve(200, ETag='"e"').probe()


def test_a_body_cut_short_is_never_returned(serve):
    store = serve(200, b"pix", Content_Length="1000")

    with pytest.raises(StorageUnavailableError):
        store.get("tile")


def test_a_presigned_url_needs_no_server():
    url = connect(port=1).url("job/picture.png")

    assert url.startswith("http://127.0.0.1:1/bucket/job/picture.png?X-Amz-Algorithm=")
    assert "X-Amz-Expires=60" in url
