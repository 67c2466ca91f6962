import errno
import os
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from app.domain.errors import (
    ConfigurationError,
    CorruptBlobError,
    InvalidRequestError,
    StorageUnavailableError,
)
from app.storage.folder import FolderStore


@pytest.fixture
def store(tmp_path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def files(folder: Path) -> set[str]:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return found - {".lock"}


def test_a_blob_is_an_ordinary_file_with_its_checksum_beside_it(store, tmp_path):
    store.put("job/picture.png", b"pixels")

    assert (tmp_path / "store/job/picture.png").read_bytes() == b"pixels"
    assert files(tmp_path / "store") == {"job/picture.png", ".sums/job/picture.png"}


def test_a_blob_gets_the_permissions_of_a_new_file(store, tmp_path):
    (tmp_path / "ordinary").touch()

    store.put("job/picture.png", b"pixels")

    assert (tmp_path / "store/job/picture.png").stat().st_mode == (
        (tmp_path / "ordinary").stat().st_mode
    )


def test_a_blob_without_its_checksum_is_corrupt(store, tmp_path):
    store.put("tile", b"pixels")
    (tmp_path / "store/.sums/tile").unlink()

    with pytest.raises(CorruptBlobError):
        store.get("tile")


def test_a_copied_folder_is_as_good_as_the_original(store, tmp_path):
    store.put("job/tile", b"pixels")
    subprocess.run(["cp", "-r", tmp_path / "store", tmp_path / "copy"], check=True)

    assert FolderStore(tmp_path / "copy").get("job/tile") == b"pixels"


def test_the_losing_version_leaves_no_file(store, tmp_path):
    store.put("tile", b"first")
    store.put("tile", b"second")

    assert files(tmp_path / "store") == {"tile", ".sums/tile"}


def test_deleting_removes_the_checksum_too(store, tmp_path):
    store.put("tile", b"pixels")

    store.delete("tile")

    assert files(tmp_path / "store") == set()


def test_the_folder_of_a_deleted_blob_is_free_for_a_blob(store):
    store.put("a/b", b"pixels")
    store.delete("a/b")

    assert store.put("a", b"x") is True


@pytest.mark.parametrize("key", ["a", "a/b/c"], ids=["folder", "below a blob"])
def test_a_key_that_is_both_blob_and_folder_is_refused(store, tmp_path, key):
    store.put("a/b", b"pixels")

    with pytest.raises(InvalidRequestError) as refused:
        store.put(key, b"x")

    assert str(refused.value) == (
        f"blob key must not be a folder of other blobs or lie below a blob, got {key!r}"
    )
    assert files(tmp_path / "store") == {"a/b", ".sums/a/b"}


def test_a_full_disk_is_a_storage_failure_and_leaves_no_half_file(small_disk):
    store = FolderStore(small_disk / "store")
    store.put("small", b"x" * 1000)

    with pytest.raises(StorageUnavailableError) as failed:
        store.put("large", b"x" * 2_000_000)

    message = str(failed.value)
    assert message.startswith(
        f"folder {small_disk}/store has no room for blob large of 2000000 bytes, "
    )
    assert message.endswith(" bytes are free")
    assert not store.exists("large")
    assert not list((small_disk / "store/.tmp").iterdir())
    assert store.get("small") == b"x" * 1000


def test_a_failed_write_leaves_no_checksum_and_no_empty_folder(store, tmp_path, monkeypatch):
    store.put("job/small", b"pixels")
    before = below(tmp_path / "store")
    monkeypatch.setattr(shutil, "copyfileobj", no_room)

    with pytest.raises(StorageUnavailableError):
        store.put("job/plan/deep/large", b"x")

    assert below(tmp_path / "store") == before


def test_a_failed_write_leaves_the_checksum_of_a_blob_stored_meanwhile(
    store, tmp_path, monkeypatch
):
    write = shutil.copyfileobj

    def lose(*_):
        monkeypatch.setattr(shutil, "copyfileobj", write)
        FolderStore(tmp_path / "store").put("job/tile", b"winner")
        no_room()

    monkeypatch.setattr(shutil, "copyfileobj", lose)
    with pytest.raises(StorageUnavailableError):
        store.put("job/tile", b"loser")

    assert store.get("job/tile") == b"winner"


def no_room(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def below(folder: Path) -> set[str]:
    """Every file and folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_there_is_room_again_after_a_full_disk(small_disk):
    store = FolderStore(small_disk / "store")
    with pytest.raises(StorageUnavailableError):
        store.put("large", b"x" * 2_000_000)

    assert store.put("large", b"x" * 200_000) is True
    assert store.get("large") == b"x" * 200_000


WRITE_LIMITED = """
import resource, signal, sys
from pathlib import Path
from app.storage.folder import FolderStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
store = FolderStore(Path(sys.argv[1]))
try:
    store.put("large", b"x" * 200_000)
except Exception as err:
    left = list((Path(sys.argv[1]) / ".tmp").iterdir())
    print(type(err).__name__, store.exists("large"), len(left))
"""


def test_a_write_that_stops_half_way_leaves_nothing(tmp_path):
    command = [sys.executable, "-c", WRITE_LIMITED, str(tmp_path / "store")]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["StorageFullError", "False", "0"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_a_wrong_setting(tmp_path):
    tmp_path.chmod(0o500)

    with pytest.raises(ConfigurationError, match=r"refuses blob tile: Permission denied$"):
        FolderStore(tmp_path / "store").put("tile", b"pixels")


def test_a_folder_where_a_file_lies_is_refused(tmp_path):
    (tmp_path / "store").touch()

    with pytest.raises(InvalidRequestError):
        FolderStore(tmp_path / "store").put("tile", b"pixels")


def test_storing_a_large_file_takes_little_memory(store, tmp_path):
    source = tmp_path / "large"
    with source.open("wb") as file:
        file.truncate(30_000_000)
    tracemalloc.start()

    store.put_file("large", source)

    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 3_000_000
