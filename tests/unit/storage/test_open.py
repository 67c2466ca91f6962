import pytest

from app.domain.errors import ConfigurationError, InvalidRequestError
from app.settings import Settings
from app.storage.folder import FolderStore
from app.storage.memory import MemoryStore
from app.storage.open import open_store
from app.storage.s3 import S3Store


def opened(url: str, **others: str):
    return open_store(Settings(store_url=url, **others))


@pytest.mark.parametrize(
    ("url", "kind"),
    [("memory://a", MemoryStore), ("file:///tmp/x", FolderStore), ("s3://bucket/a/b", S3Store)],
    ids=["memory", "folder", "s3"],
)
def test_the_scheme_names_the_adapter(url, kind):
    assert isinstance(opened(url), kind)


def test_memory_of_one_name_is_shared_within_the_process():
    opened("memory://shared").put("tile", b"pixels")

    assert opened("memory://shared").get("tile") == b"pixels"
    assert not opened("memory://other").exists("tile")


def test_a_path_with_spaces_is_decoded(tmp_path):
    opened((tmp_path / "my store").as_uri()).put("tile", b"pixels")

    assert (tmp_path / "my store" / "tile").read_bytes() == b"pixels"


BAD_URLS = {
    "scheme": (
        "ftp://user:secret@host/x",
        "TILECHORD_STORE_URL must start with memory://, file:// or s3://, got scheme 'ftp'",
    ),
    "nothing": (
        "",
        "TILECHORD_STORE_URL must start with memory://, file:// or s3://, got scheme ''",
    ),
    "relative": (
        "file://store/x",
        "TILECHORD_STORE_URL must be file:// and an absolute path, got 'store/x'",
    ),
    "no bucket": (
        "s3://",
        "TILECHORD_STORE_URL must name a bucket of 3 to 63 characters of [a-z0-9.-], got ''",
    ),
    "bad bucket": (
        "s3://Big_Bucket/x",
        "TILECHORD_STORE_URL must name a bucket of 3 to 63 characters of [a-z0-9.-], "
        "got 'Big_Bucket'",
    ),
    "not a url": ("s3://[x", "TILECHORD_STORE_URL must be a URL: Invalid IPv6 URL"),
}


@pytest.mark.parametrize(("url", "message"), BAD_URLS.values(), ids=BAD_URLS.keys())
def test_a_wrong_url_is_refused_with_what_is_wrong(url, message):
    with pytest.raises(ConfigurationError) as refused:
        opened(url)

    assert str(refused.value) == message


def test_a_prefix_follows_the_rules_of_keys():
    with pytest.raises(InvalidRequestError):
        opened("s3://bucket/../other")


@pytest.mark.parametrize("endpoint", ["http://host:9000", "host/path"], ids=["scheme", "path"])
def test_an_endpoint_is_host_and_port(endpoint):
    with pytest.raises(ConfigurationError) as refused:
        opened("s3://bucket", s3_endpoint=endpoint)

    assert str(refused.value) == (
        f"TILECHORD_S3_ENDPOINT must be host:port without scheme or path, got {endpoint!r}"
    )


@pytest.mark.parametrize(
    ("given", "missing"),
    [("ACCESS", "SECRET"), ("SECRET", "ACCESS")],
    ids=["without secret", "without name"],
)
def test_half_a_key_pair_names_the_other_half(given, missing):
    with pytest.raises(ConfigurationError) as refused:
        opened("s3://bucket", **{f"s3_{given.lower()}_key": "hush"})

    assert str(refused.value) == (
        f"TILECHORD_S3_{missing}_KEY must be set where TILECHORD_S3_{given}_KEY is"
    )
