"""One suite for every blob store: what holds for memory holds for a folder and for S3."""

import itertools
import secrets
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from threading import Barrier

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.errors import CorruptBlobError, InvalidRequestError, NotFoundError
from app.settings import Settings
from app.storage.open import open_store
from app.storage.port import BlobStore
from tests.support.held import frees_its_caller
from tests.support.waiting import wait_for


@dataclass
class Subject:
    """A store and a way to change stored bytes without it noticing."""

    store: BlobStore
    corrupt: Callable[[str, bytes], None]
    own_prefix: str = ""


def memory(request) -> Subject:
    del request
    store = open_store(Settings(store_url=f"memory://{secrets.token_hex(4)}"))

    def corrupt(key: str, data: bytes) -> None:
        store._blobs[key] = data, store._blobs[key][1]

    return Subject(store, corrupt)


def folder(request) -> Subject:
    root = request.getfixturevalue("tmp_path") / "store"
    store = open_store(Settings(store_url=root.as_uri()))
    return Subject(store, lambda key, data: (root / key).write_bytes(data) and None)


def s3(request) -> Subject:
    env = request.getfixturevalue("s3_env")
    values = {name.removeprefix("TILECHORD_").lower(): text for name, text in env.items()}
    store = open_store(Settings(**values))

    def corrupt(key: str, data: bytes) -> None:
        promised = {"x-amz-meta-sha256": sha256(store.get(key)).hexdigest()}
        store._client._put_object(store._bucket, store._prefix + key, data, headers=promised)

    return Subject(store, corrupt)


SUBJECTS = [
    pytest.param(memory, id="memory"),
    pytest.param(folder, id="folder"),
    pytest.param(s3, id="s3", marks=pytest.mark.integration),
]


@pytest.fixture(params=SUBJECTS)
def subject(request) -> Subject:
    return request.param(request)


@pytest.fixture
def store(subject) -> BlobStore:
    return subject.store


def get_what_is_missing(store):
    with suppress(NotFoundError):
        store.get("a/missing")


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.exists("a/missing"),
        get_what_is_missing,
        lambda store: store.put("a/taken", b"other"),
    ],
    ids=["exists", "get", "put"],
)
def test_nothing_of_a_caller_stays_in_memory_after_an_answer_of_no(store, ask):
    """A renderer asks between two layers: what they hold must be free when they are done."""
    store.put("a/taken", b"one")

    assert frees_its_caller(lambda: ask(store))


def test_a_blob_is_read_as_it_was_written(store):
    data = bytes(range(256)) * 1000

    store.put("plan/tile.raw", data)

    assert store.get("plan/tile.raw") == data


def test_an_empty_blob_is_a_blob(store):
    store.put("plan/empty", b"")

    assert store.exists("plan/empty")
    assert store.get("plan/empty") == b""


def test_only_the_first_writer_wins(store):
    assert store.put("plan/tile", b"first") is True
    assert store.put("plan/tile", b"second") is False

    assert store.get("plan/tile") == b"first"


def test_writing_the_same_bytes_again_is_harmless(store):
    store.put("plan/tile", b"same")
    store.put("plan/tile", b"same")

    assert store.get("plan/tile") == b"same"


def test_of_eight_racing_writers_one_wins_and_its_bytes_stay(store):
    for key in ("race/a", "race/b", "race/c"):
        versions = [bytes([writer]) * 50_000 for writer in range(8)]
        start = Barrier(len(versions))

        def write(data: bytes, key: str = key, start: Barrier = start) -> bool:
            start.wait()
            return store.put(key, data)

        with ThreadPoolExecutor(len(versions)) as pool:
            won = list(pool.map(write, versions))

        assert won.count(True) == 1
        assert store.get(key) == versions[won.index(True)]


def test_a_reader_sees_all_of_a_blob_or_nothing(store):
    data = b"x" * 3_000_000
    seen = []

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(store.put, "big", data)
        while not writing.done():
            if store.exists("big"):
                seen.append(len(store.get("big")))
    seen.append(len(store.get("big")))

    assert set(seen) == {len(data)}


def test_a_file_is_stored_like_bytes(store, tmp_path):
    source = tmp_path / "picture"
    source.write_bytes(b"pixels" * 500_000)

    assert store.put_file("plan/picture.png", source) is True
    assert store.put_file("plan/picture.png", source) is False

    assert store.get("plan/picture.png") == source.read_bytes()


def test_an_empty_file_is_stored_as_an_empty_blob(store, tmp_path):
    source = tmp_path / "empty"
    source.touch()

    store.put_file("plan/empty", source)

    assert store.get("plan/empty") == b""


@pytest.mark.parametrize(
    "size_bytes", [0, 1, 1 << 20, 5_000_000], ids=["none", "one byte", "one piece", "many pieces"]
)
def test_a_blob_can_be_read_in_pieces(store, size_bytes):
    data = bytes(range(250)) * (size_bytes // 250) + b"x" * (size_bytes % 250)
    store.put("plan/picture.png", data)

    pieces = list(store.stream("plan/picture.png"))

    assert b"".join(pieces) == data
    assert all(0 < len(piece) <= 1 << 20 for piece in pieces)


def test_no_stream_of_changed_bytes_ends_well(subject):
    subject.store.put("plan/picture.png", b"x" * 3_000_000)
    subject.corrupt("plan/picture.png", b"x" * 2_999_999 + b"y")

    with pytest.raises(CorruptBlobError, match=r"^blob plan/picture.png .* its SHA-256$"):
        list(subject.store.stream("plan/picture.png"))


def test_a_stream_that_is_left_early_harms_nobody(store):
    store.put("plan/picture.png", b"x" * 3_000_000)

    first = next(store.stream("plan/picture.png"))

    assert len(first) > 0
    assert len(store.get("plan/picture.png")) == 3_000_000


def test_changed_bytes_are_never_returned(subject):
    subject.store.put("plan/tile", b"original")
    subject.corrupt("plan/tile", b"0riginal")

    with pytest.raises(CorruptBlobError, match=r"^blob plan/tile .* does not match its SHA-256$"):
        subject.store.get("plan/tile")


def test_a_truncated_blob_is_never_returned(subject):
    subject.store.put("plan/tile", b"original")
    subject.corrupt("plan/tile", b"orig")

    with pytest.raises(CorruptBlobError):
        subject.store.get("plan/tile")


def test_a_missing_blob_is_not_found(store):
    assert not store.exists("plan/tile")
    for read in (store.get, lambda key: list(store.stream(key))):
        with pytest.raises(NotFoundError, match=r"^blob plan/tile does not exist in "):
            read("plan/tile")


def test_a_deleted_blob_is_gone_and_may_be_written_again(store):
    store.put("plan/tile", b"old")

    store.delete("plan/tile")
    store.delete("plan/tile")

    assert not store.exists("plan/tile")
    assert store.put("plan/tile", b"new") is True
    assert store.get("plan/tile") == b"new"


def test_a_folder_of_blobs_is_not_a_blob(store):
    store.put("plan/tile", b"pixels")

    assert not store.exists("plan")
    store.delete("plan")
    with pytest.raises(NotFoundError):
        store.get("plan")
    assert store.exists("plan/tile")


def test_keys_are_listed_by_prefix_in_byte_order(store):
    for key in ("a/x", "a-b", "a.b", "a/b/c", "ab", "b/a"):
        store.put(key, b"")

    assert list(store.keys("a")) == ["a-b", "a.b", "a/b/c", "a/x", "ab"]
    assert list(store.keys("a/")) == ["a/b/c", "a/x"]
    assert list(store.keys("a/b/c")) == ["a/b/c"]
    assert list(store.keys("")) == ["a-b", "a.b", "a/b/c", "a/x", "ab", "b/a"]
    assert list(store.keys("nothing/")) == []


def test_more_keys_than_one_page_are_all_listed(store):
    keys = [f"many/{number:04d}" for number in range(1100)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, b"."), keys))

    assert list(store.keys("many/")) == keys


def test_a_listing_tells_size_and_age(store):
    before_s = time.time()
    store.put("a/x", b"")
    store.put("a/y/z", b"x" * 70_000)
    store.put("b", b"other")

    found = {entry.key: entry for entry in store.stat("a/")}

    assert {key: entry.size_bytes for key, entry in found.items()} == {"a/x": 0, "a/y/z": 70_000}
    # S3 tells whole seconds.
    assert all(before_s - 1 <= entry.modified_s <= time.time() for entry in found.values())
    assert {entry.key for entry in store.stat("")} == {"a/x", "a/y/z", "b"}
    assert {entry.key for entry in store.stat("a/y")} == {"a/y/z"}
    assert list(store.stat("nothing/")) == []


def test_a_second_writer_does_not_make_a_blob_younger(store):
    store.put("a", b"first")
    (first,) = store.stat("a")
    wait_for(lambda: time.time() >= first.modified_s + 1.1)  # S3 tells whole seconds

    store.put("a", b"second")

    assert list(store.stat("a")) == [first]


def test_what_is_removed_while_it_is_listed_disturbs_nobody(store):
    for number in range(5):
        store.put(f"a/{number}", b"x")
    listing = store.stat("a/")
    next(listing)

    for number in range(5):
        store.delete(f"a/{number}")

    assert len(list(listing)) <= 4
    assert list(store.stat("a/")) == []


def test_the_url_leads_to_the_bytes(store):
    store.put("plan/picture.png", b"pixels")

    with urllib.request.urlopen(store.url("plan/picture.png")) as response:
        assert response.read() == b"pixels"
        assert response.headers["Content-Type"] == "image/png"


def test_the_probe_passes_and_leaves_nothing(store):
    store.probe()

    assert list(store.keys("probe/")) == []


BAD_KEYS = {
    "empty": "",
    "absolute": "/etc/passwd",
    "parent": "../secret",
    "parent inside": "a/../../b",
    "dot": "a/./b",
    "hidden": ".sums/a",
    "hidden inside": "a/.lock",
    "uppercase": "Plan/tile",
    "space": "a b",
    "double slash": "a//b",
    "trailing slash": "a/",
    "backslash": "a\\b",
    "newline": "a\n",
    "zero byte": "a\0b",
    "letter outside ascii": "käse",
    "url": "http://example.org",
    "long": "a/" * 300 + "a",
    "long segment": "a" * 201,
}


@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS.keys())
def test_a_bad_key_is_refused_by_every_call_and_nothing_is_written(store, tmp_path, key):
    source = tmp_path / "source"
    source.write_bytes(b"x")
    calls = [
        lambda: store.put(key, b"x"),
        lambda: store.put_file(key, source),
        lambda: store.get(key),
        lambda: list(store.stream(key)),
        lambda: store.exists(key),
        lambda: store.delete(key),
        lambda: store.url(key),
    ]

    for call in calls:
        with pytest.raises(InvalidRequestError, match=r"^blob key "):
            call()

    assert list(store.keys("")) == []


@pytest.mark.parametrize("prefix", ["../", "/", "A", "a/../b", ".sums", "a" * 600])
def test_a_prefix_no_key_can_have_is_refused(store, prefix):
    with pytest.raises(InvalidRequestError, match=r"^blob prefix must be the beginning of a key"):
        store.keys(prefix)
    with pytest.raises(InvalidRequestError, match=r"^blob prefix must be the beginning of a key"):
        store.stat(prefix)


SEGMENTS = st.from_regex(r"[a-z0-9_-][a-z0-9._-]{0,12}", fullmatch=True)
KEYS = st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join)


NUMBERS = itertools.count()


@given(key=KEYS, data=st.binary(max_size=200))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_key_within_the_rules_round_trips(store, key, data):
    # SeaweedFS takes emptied folders away a moment later, and with them what was just put under
    # their name: no name is used twice.
    key = f"{next(NUMBERS)}{key}"
    store.put("kept-here", b"")
    try:
        store.put(key, data)
        assert store.get(key) == data
        assert key in store.keys(key)
    finally:
        store.delete(key)
