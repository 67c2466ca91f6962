"""Which adapter a store URL means."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from minio import Minio

from app.domain.errors import ConfigurationError
from app.settings import Settings
from app.storage.folder import FolderStore
from app.storage.keys import check_key
from app.storage.memory import MemoryStore
from app.storage.port import BlobStore
from app.storage.s3 import S3Store, bounded_pool

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def open_store(chosen: Settings) -> BlobStore:
    """The store that ``store_url`` names; nothing is contacted before its first use.

    ``memory://name`` is shared within the process, ``file:///folder`` between the processes
    of a machine, ``s3://bucket/prefix`` between machines. Raises ``ConfigurationError`` for
    anything else.
    """
    try:
        address = urlsplit(chosen.store_url)
    except ValueError as err:
        raise ConfigurationError(f"TILECHORD_STORE_URL must be a URL: {err}") from err
    if address.scheme == "memory":
        return _shared_memory(address.netloc)
    if address.scheme == "file":
        return _folder(address)
    if address.scheme == "s3":
        return _s3(address, chosen)
    raise ConfigurationError(
        "TILECHORD_STORE_URL must start with memory://, file:// or s3://, "
        f"got scheme {address.scheme!r}"
    )


@cache
def _shared_memory(name: str) -> MemoryStore:
    """One store per *name*, however often it is opened."""
    del name  # only the cache's key
    return MemoryStore()


def _folder(address: SplitResult) -> FolderStore:
    path = unquote(address.path)
    if address.netloc or not path.startswith("/"):
        raise ConfigurationError(
            "TILECHORD_STORE_URL must be file:// and an absolute path, "
            f"got {address.netloc + path!r}"
        )
    return FolderStore(Path(path))


def _s3(address: SplitResult, chosen: Settings) -> S3Store:
    if not _BUCKET.fullmatch(address.netloc):
        raise ConfigurationError(
            "TILECHORD_STORE_URL must name a bucket of 3 to 63 characters of [a-z0-9.-], "
            f"got {address.netloc!r}"
        )
    prefix = address.path.strip("/")
    return S3Store(
        _client(chosen),
        address.netloc,
        prefix=check_key(prefix) if prefix else "",
        url_expiry_s=chosen.url_expiry_s,
    )


def _client(chosen: Settings) -> Minio:
    access_key = chosen.s3_access_key.get_secret_value()
    secret_key = chosen.s3_secret_key.get_secret_value()
    if bool(access_key) != bool(secret_key):
        given, missing = ("ACCESS", "SECRET") if access_key else ("SECRET", "ACCESS")
        raise ConfigurationError(
            f"TILECHORD_S3_{missing}_KEY must be set where TILECHORD_S3_{given}_KEY is"
        )
    try:
        return Minio(
            chosen.s3_endpoint,
            access_key=access_key or None,
            secret_key=secret_key or None,
            secure=chosen.s3_secure,
            region=chosen.s3_region,  # given, so that no request is spent on asking for it
            http_client=bounded_pool(),
        )
    except ValueError as err:
        raise ConfigurationError(
            f"TILECHORD_S3_ENDPOINT must be host:port without scheme or path, "
            f"got {chosen.s3_endpoint!r}"
        ) from err
