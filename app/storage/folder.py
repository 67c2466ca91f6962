"""Blobs as ordinary files below one folder; a picture can be opened where it lies.

::

    <root>/<key>          the blob, byte for byte
    <root>/.sums/<key>    SHA-256 of every version a writer offered, one hex line each
    <root>/.tmp/          files being written
    <root>/.lock          shared by writers, exclusive to a delete and after a failed write
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest, sha256
from pathlib import Path

from app.domain.errors import (
    ConfigurationError,
    CorruptBlobError,
    InvalidRequestError,
    NotFoundError,
    StorageFullError,
    StorageUnavailableError,
)
from app.storage.keys import check_key, check_prefix
from app.storage.pieces import PIECE_BYTES, pieces
from app.storage.port import BlobStat
from app.storage.probe import probe_writes_once

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EOPNOTSUPP}


class FolderStore:
    """A ``BlobStore`` for processes of one machine that share a folder.

    A key cannot be both a blob and the folder of another: ``a`` and ``a/b`` exclude each other.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, data: bytes) -> bool:
        return self._store(key, io.BytesIO(data))

    def put_file(self, key: str, path: Path) -> bool:
        with path.open("rb") as source:
            return self._store(key, source)

    def get(self, key: str) -> bytes:
        return b"".join(self.stream(key))

    def stream(self, key: str) -> Iterator[bytes]:
        target = self._root / check_key(key)
        digest = sha256()
        with self._translated(key):
            if not target.is_file():
                raise NotFoundError(f"blob {key} does not exist in {self._root}")
            with target.open("rb") as file:
                for piece in pieces(file):
                    digest.update(piece)
                    yield piece
            digests = _lines(self._sums(key))
        if digest.hexdigest() in digests:
            return
        if not target.exists():  # deleted between the two reads
            raise NotFoundError(f"blob {key} does not exist in {self._root}")
        raise CorruptBlobError(f"blob {key} in {self._root} does not match its SHA-256")

    def exists(self, key: str) -> bool:
        return (self._root / check_key(key)).is_file()

    def keys(self, prefix: str) -> Iterator[str]:
        folder = check_prefix(prefix).rpartition("/")[0]
        with self._translated(prefix):
            names = [name for name in self._walk(folder) if name.startswith(prefix)]
        return iter(sorted(names))

    def stat(self, prefix: str) -> Iterator[BlobStat]:
        folder = check_prefix(prefix).rpartition("/")[0]
        return (
            BlobStat(name, found.st_size, found.st_mtime)
            for name in self._walk(folder)
            if name.startswith(prefix) and (found := self._found(name))
        )

    def delete(self, key: str) -> None:
        target = self._root / check_key(key)
        with self._translated(key), self._locked(fcntl.LOCK_EX):
            if target.is_file():
                target.unlink()
                self._clear_up(key)

    def url(self, key: str) -> str:
        return (self._root / check_key(key)).absolute().as_uri()

    def probe(self) -> None:
        probe_writes_once(self, name=f"folder {self._root}")

    def _found(self, key: str) -> os.stat_result | None:
        """What the file system tells of a blob, ``None`` when it is gone."""
        with self._translated(key), suppress(FileNotFoundError):
            return (self._root / key).stat()
        return None

    def _sums(self, key: str) -> Path:
        return self._root / ".sums" / key

    def _store(self, key: str, source: io.BufferedIOBase) -> bool:
        target = self._root / check_key(key)
        digest = file_digest(source, "sha256").hexdigest()
        size_bytes = source.seek(0, io.SEEK_END)
        source.seek(0)
        with self._translated(key, size_bytes):
            try:
                with self._locked(fcntl.LOCK_SH):
                    if target.is_file():
                        return False
                    # The checksum comes first: whoever can see the blob can verify it. A loser's
                    # line stays beside the winner's, which costs 65 bytes and still exposes any
                    # damage.
                    _append(self._sums(key), f"{digest}\n")
                    return self._publish(target, source)
            except OSError:
                self._forget(key)
                raise

    def _forget(self, key: str) -> None:
        """Remove what a failed write left, unless another writer's blob is there."""
        with suppress(OSError), self._locked(fcntl.LOCK_EX):
            if not (self._root / key).is_file():
                self._clear_up(key)

    def _clear_up(self, key: str) -> None:
        """Remove checksum and empty folders of a blob that is gone.

        Under the exclusive lock: a writer may be between its checksum, its folders and its blob.
        """
        sums = self._sums(key)
        sums.unlink(missing_ok=True)
        _prune(sums.parent, self._root / ".sums")
        _prune((self._root / key).parent, self._root)

    def _publish(self, target: Path, source: io.BufferedIOBase) -> bool:
        """Make the bytes appear at *target* in one step; False when something is there already."""
        temporary = self._root / ".tmp" / secrets.token_hex(16)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(temporary, source)
            # link, not rename: it is as atomic and refuses to replace what is there.
            os.link(temporary, target)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(target.parent)
        return True

    def _walk(self, folder: str) -> Iterator[str]:
        for path, folders, files in os.walk(self._root / folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            inner = Path(path).relative_to(self._root)
            yield from ((inner / name).as_posix() for name in files if not name.startswith("."))

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        """Keep what removes files from falling between a writer's checksum and its blob."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / ".lock").open("a") as file:
            fcntl.flock(file, kind)
            yield

    @contextmanager
    def _translated(self, key: str, size_bytes: int = 0) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as err:
            raise NotFoundError(f"blob {key} does not exist in {self._root}") from err
        except (NotADirectoryError, IsADirectoryError, FileExistsError) as err:
            raise InvalidRequestError(
                f"blob key must not be a folder of other blobs or lie below a blob, got {key!r}"
            ) from err
        except OSError as err:
            raise self._failure(err, key, size_bytes) from err

    def _failure(self, err: OSError, key: str, size_bytes: int) -> Exception:
        if err.errno in _NO_ROOM:
            return StorageFullError(
                f"folder {self._root} has no room for blob {key} of {size_bytes} bytes, "
                f"{self._free_bytes()} bytes are free"
            )
        if err.errno in _REFUSED:
            return ConfigurationError(f"folder {self._root} refuses blob {key}: {err.strerror}")
        return StorageUnavailableError(f"folder {self._root} fails on {key}: {err.strerror}")

    def _free_bytes(self) -> int:
        with suppress(OSError):
            return shutil.disk_usage(self._root).free
        return 0


def _write(path: Path, source: io.BufferedIOBase) -> None:
    """Create *path* with the bytes of *source* on the disk, not only in the page cache."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        shutil.copyfileobj(source, file, PIECE_BYTES)
        file.flush()
        os.fsync(file.fileno())


def _append(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # One unbuffered write in append mode: racing writers cannot tear each other's lines.
    with path.open("ab", buffering=0) as file:
        file.write(line.encode())
        os.fsync(file.fileno())


def _prune(folder: Path, root: Path) -> None:
    """Remove *folder* and those above it, below *root*, up to the first that is not empty."""
    while folder != root:
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass  # the write failed before this one was made
        except OSError:
            return
        folder = folder.parent


def _lines(path: Path) -> list[str]:
    with suppress(FileNotFoundError):
        return path.read_text().split()
    return []


def _sync_folder(folder: Path) -> None:
    """Put the new name itself on the disk: fsync of a file does not cover its folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
