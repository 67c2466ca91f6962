from __future__ import annotations

import io
import resource
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image

from app import client
from app.domain.errors import (
    InvalidRequestError,
    LimitExceededError,
    RenderError,
    StorageUnavailableError,
)
from tests.support.installation import Installation


def png(width: int = 16, height: int = 16) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((width, height), 50).save(buffer, "PNG")
    return buffer.getvalue()


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that claims *side* x *side* pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


@contextmanager
def full_disk(free_bytes: int) -> Iterator[None]:
    """No file of this process can grow beyond *free_bytes*."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_equal_pictures_share_one_blob(installation: Installation, tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        (tmp_path / name).write_bytes(png())

    keys = {client.upload(tmp_path / "one.png"), client.upload(str(tmp_path / "two.png"))}

    assert len(keys) <= 2
    first = (tmp_path / "one.png").read_bytes()
    assert f"inputs/{sha256(first).hexdigest()}" in keys
    assert keys <= set(installation.blobs())


def test_uploading_twice_is_harmless(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(png())

    first, second = client.upload(tmp_path / "one.png"), client.upload(tmp_path / "one.png")

    assert first == second


def test_checking_names_the_key_and_stores_nothing(
    installation: Installation, tmp_path: Path
) -> None:
    (tmp_path / "one.png").write_bytes(png())

    key = client.check_input(tmp_path / "one.png")

    assert key == client.input_key((tmp_path / "one.png").read_bytes())
    assert installation.blobs() == []


@pytest.mark.parametrize(
    ("data", "kind", "sentence"),
    [
        (
            b"GIF89a" + bytes(20),
            InvalidRequestError,
            "init_image must be a PNG, JPEG, WebP or TIFF picture, "
            "got 26 B that start with b'GIF89a\\x00\\x00'",
        ),
        (
            b"",
            InvalidRequestError,
            "init_image must be a PNG, JPEG, WebP or TIFF picture, got 0 B that start with b''",
        ),
        (
            bomb(65_000),
            LimitExceededError,
            "init_image must be at most 200 megapixels, got 65000x65000 = 4225.0",
        ),
    ],
    ids=["other-kind", "empty", "decompression-bomb"],
)
def test_what_is_no_sensible_picture_is_refused(
    data: bytes, kind: type[RenderError], sentence: str, installation: Installation, tmp_path: Path
) -> None:
    (tmp_path / "input").write_bytes(data)

    with pytest.raises(kind) as refusal:
        client.upload(tmp_path / "input")

    assert str(refusal.value) == sentence
    assert installation.blobs() == []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere.png", "init_image 'nowhere.png' cannot be read: No such file or directory"),
        (".", "init_image must be a picture file, . is none"),
        ("/dev/zero", "init_image must be a picture file, /dev/zero is none"),
        ("x" * 300, f"init_image {'x' * 300!r} cannot be read: File name too long"),
    ],
    ids=["missing", "folder", "device", "long-name"],
)
def test_what_is_no_file_is_refused(name: str, sentence: str, installation: Installation) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        client.upload(name)

    assert str(refusal.value) == sentence
    assert installation.blobs() == []


def test_a_file_larger_than_any_picture_is_not_read(
    installation: Installation, tmp_path: Path
) -> None:
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(1_600_000_001)

    with pytest.raises(LimitExceededError, match="at most 1600000000 bytes"):
        client.upload(tmp_path / "sparse.png")

    assert installation.blobs() == []


def test_a_full_disk_keeps_no_half_blob(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "big.png").write_bytes(png(200, 200))

    with full_disk(1000), pytest.raises(StorageUnavailableError, match="has no room for blob"):
        client.upload(tmp_path / "big.png")

    assert [name for name in installation.blobs() if not name.startswith(".sums/")] == []


def test_a_full_disk_keeps_no_half_picture(tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    target.write_bytes(b"before")

    with full_disk(1000), pytest.raises(StorageUnavailableError) as refusal:
        client.write_file(target, [bytes(5000)], size_bytes=5000)

    assert str(refusal.value) == f"file {target} of 5000 bytes cannot be written: File too large"
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]
    assert target.read_bytes() == b"before"


@pytest.mark.parametrize(
    ("count", "names"),
    [
        (1, ["out.png"]),
        (2, ["out-0.png", "out-1.png"]),
        (11, [f"out-{index:02}.png" for index in range(11)]),
    ],
    ids=["one", "two", "eleven"],
)
def test_several_pictures_are_numbered_so_that_they_sort(count: int, names: list[str]) -> None:
    assert [path.name for path in client.picture_paths(Path("a/out.png"), count)] == names
