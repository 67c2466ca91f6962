"""Blobs in an S3 bucket, through the ``minio`` client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from hashlib import file_digest, sha256
from mmap import ACCESS_READ, mmap
from pathlib import Path
from traceback import clear_frames
from typing import cast

from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3 import PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError

from app.domain.errors import (
    ConfigurationError,
    CorruptBlobError,
    NotFoundError,
    StorageFullError,
    StorageUnavailableError,
)
from app.storage.keys import check_key, check_prefix, media_type
from app.storage.pieces import pieces
from app.storage.port import BlobStat
from app.storage.probe import probe_writes_once

_DIGEST = "x-amz-meta-sha256"
_TAKEN = "PreconditionFailed"
_BUCKET_IS_THERE = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


def bounded_pool(
    *, connect_s: float = 3.0, read_s: float = 30.0, retries: int = 3, backoff_s: float = 0.2
) -> PoolManager:
    """Connections that give up: minio's own pool waits five minutes for a silent server."""
    return PoolManager(
        timeout=Timeout(connect=connect_s, read=read_s),
        maxsize=16,  # the most threads of one process that write at once, with room
        # Four tries take about 1.5 s plus the timeouts; after that Celery retries the task.
        # A PUT may be retried: it is conditional, so a second one cannot replace the first.
        retries=Retry(
            total=retries,
            backoff_factor=backoff_s,
            status_forcelist=[500, 502, 503, 504],
            allowed_methods=None,
            raise_on_status=False,
        ),
    )


class _TakenError(Exception):
    """A blob of this key exists; it stays."""


class S3Store:
    """A ``BlobStore`` in *bucket*, all keys below *prefix*; presigned URLs live *url_expiry_s*.

    When the answer to a successful write is lost, the repeated one finds the key taken:
    ``put`` then returns False although the bytes are its own.
    """

    def __init__(self, client: Minio, bucket: str, *, prefix: str, url_expiry_s: int) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._url_expiry = timedelta(seconds=url_expiry_s)

    def put(self, key: str, data: bytes) -> bool:
        return self._store(key, data, sha256(data).hexdigest())

    def put_file(self, key: str, path: Path) -> bool:
        if not path.stat().st_size:  # nothing to map
            return self.put(key, b"")
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as pages:
            digest = file_digest(file, "sha256").hexdigest()
            # minio signs a body and urllib3 sends it in blocks: a map of the file serves both
            # without a copy in memory, and it can be rewound for a retry.
            return self._store(key, cast(bytes, pages), digest)

    def _store(self, key: str, data: bytes, digest: str) -> bool:
        # A fresh dict each time: minio adds the signature to the one it is given.
        headers: dict[str, str | list[str] | tuple[str]] = {
            "If-None-Match": "*",
            "Content-Type": media_type(key),
            _DIGEST: digest,
        }
        try:
            with self._translated(key):
                # The public put_object refuses If-None-Match; this is the call below it. Revisit
                # when the minio client of version 8 offers conditional writes.
                self._client._put_object(self._bucket, self._name(key), data, headers=headers)
        except _TakenError:
            return False
        return True

    def get(self, key: str) -> bytes:
        return b"".join(self.stream(key))

    def stream(self, key: str) -> Iterator[bytes]:
        digest = sha256()
        with self._translated(key):
            response = self._client.get_object(self._bucket, self._name(key))
            try:
                for piece in pieces(response):
                    digest.update(piece)
                    yield piece
            finally:
                response.close()
                response.release_conn()
        if digest.hexdigest() != response.headers.get(_DIGEST):
            raise CorruptBlobError(f"blob {key} in {self._place()} does not match its SHA-256")

    def exists(self, key: str) -> bool:
        try:
            with self._translated(key):
                self._client.stat_object(self._bucket, self._name(key))
        except NotFoundError:
            return False
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        start = self._prefix + check_prefix(prefix)
        with self._translated(prefix):
            found = self._client.list_objects(self._bucket, prefix=start, recursive=True)
            names = [entry.object_name or "" for entry in found]
        # Sorted here: servers that keep folders list "a/b" before "a-b".
        return iter(sorted(name.removeprefix(self._prefix) for name in names))

    def stat(self, prefix: str) -> Iterator[BlobStat]:
        return self._stat(prefix, self._prefix + check_prefix(prefix))

    def _stat(self, prefix: str, start: str) -> Iterator[BlobStat]:
        with self._translated(prefix):
            for entry in self._client.list_objects(self._bucket, prefix=start, recursive=True):
                name = (entry.object_name or "").removeprefix(self._prefix)
                modified_s = entry.last_modified.timestamp() if entry.last_modified else 0.0
                yield BlobStat(name, entry.size or 0, modified_s)

    def delete(self, key: str) -> None:
        with self._translated(key):
            self._client.remove_object(self._bucket, self._name(key))

    def url(self, key: str) -> str:
        with self._translated(key):
            return self._client.presigned_get_object(
                self._bucket, self._name(key), expires=self._url_expiry
            )

    def probe(self) -> None:
        self.make_bucket()
        # SeaweedFS takes 1 to 3 s for this: its losers wait for a lock in steps of a second.
        probe_writes_once(self, name=self._place())

    def make_bucket(self) -> None:
        """Create the bucket; nothing happens when it is there."""
        with self._translated("probe"):
            try:
                if not self._client.bucket_exists(self._bucket):
                    self._client.make_bucket(self._bucket)
            except S3Error as err:
                if err.code not in _BUCKET_IS_THERE:  # another process was faster
                    raise

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _place(self) -> str:
        return f"bucket {self._bucket}"

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except S3Error as err:
            # The frame that raised it holds it, and every caller's frame is reached from there.
            # A renderer asks between two layers whether its job is wanted: unless this circle is
            # broken, the layers' tensors stay until Python next looks for circles.
            clear_frames(err.__traceback__)
            raise self._failure(err, key) from err
        except (HTTPError, ServerError, InvalidResponseError) as err:
            clear_frames(err.__traceback__)
            raise StorageUnavailableError(
                f"{self._place()} does not answer for blob {key}: {type(err).__name__}"
            ) from err

    def _failure(self, err: S3Error, key: str) -> Exception:
        status = err.response.status
        if err.code == _TAKEN:
            return _TakenError(key)
        if err.code == "NoSuchBucket":
            return ConfigurationError(
                f"{self._place()} of TILECHORD_STORE_URL does not exist; create it, or let "
                "`tilechord doctor` do so with credentials that may"
            )
        if status == 404:
            return NotFoundError(f"blob {key} does not exist in {self._place()}")
        if status in (401, 403):
            return ConfigurationError(
                f"S3 credentials must be allowed to use {self._place()}, got {err.code}"
            )
        # 409: another conditional write of the key is under way. 429, 5xx: too busy or full.
        if status in (409, 429) or (status >= 500 and status != 501):
            kind = StorageFullError if status == 507 else StorageUnavailableError
            return kind(f"{self._place()} cannot serve blob {key}: {err.code}")
        return ConfigurationError(f"{self._place()} refuses blob {key}: {err.code}")
