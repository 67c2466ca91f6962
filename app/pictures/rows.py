"""Pictures of any size read row by row, or small."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray

from app.domain.errors import InvalidRequestError, LimitExceededError, NotFoundError
from app.pictures import jxl

_JXL_MAGIC = (jxl.CODESTREAM, jxl.SIGNATURE[:8])
_MAGIC = (
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF"),
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    *_JXL_MAGIC,
)
_ROWS_PER_PIECE = 64  # 3 MiB at 16384 px


class PictureFile:
    """A PNG, JPEG, WebP, JPEG XL or TIFF, as 8-bit sRGB; what is transparent becomes white.

    Every reading starts anew from *source*, a file or its bytes. Raises ``NotFoundError`` when
    there is no such file, ``LimitExceededError`` above *max_mpx* megapixels, and
    ``InvalidRequestError`` for what is no picture or breaks off.
    """

    def __init__(self, source: Path | bytes, *, max_mpx: float) -> None:
        self._source, self._max_mpx = source, max_mpx
        self._name = f"picture {source}" if isinstance(source, Path) else "the stored picture"
        try:
            self._is_jxl = self._head().startswith(_JXL_MAGIC)
            image = self._open()
        except FileNotFoundError as err:
            raise NotFoundError(f"{self._name} is not there") from err
        except (OSError, pyvips.Error) as err:
            raise self._refusal(err) from err
        self.height: int = image.height
        self.width: int = image.width
        self._check_size(self.height, self.width)

    def pieces(self) -> Iterator[NDArray[np.uint8]]:
        """The picture as consecutive ``(rows, W, 3)`` uint8 pieces, top to bottom."""
        try:
            image = self._open()  # a region does not keep it, and with it the pixels of an array
            region = pyvips.Region.new(image)
            for top in range(0, self.height, _ROWS_PER_PIECE):
                rows = min(_ROWS_PER_PIECE, self.height - top)
                piece = region.fetch(0, top, self.width, rows)
                yield np.frombuffer(piece, np.uint8).reshape(rows, self.width, 3)
        except pyvips.Error as err:
            raise self._refusal(err) from err

    def preview(self, side: int) -> NDArray[np.uint8]:
        """The whole picture, reduced to at most *side* pixels a side, ``(h, w, 3)`` uint8."""
        factor = max(1, self.height / side, self.width / side)
        try:
            image = self._open().reduce(factor, factor)
            return np.asarray(image.numpy(), np.uint8)
        except pyvips.Error as err:
            raise self._refusal(err) from err

    def _open(self) -> pyvips.Image:
        image = (self._whole_jxl() if self._is_jxl else self._streamed()).colourspace("srgb")
        return image.flatten(background=255) if image.hasalpha() else image

    def _streamed(self) -> pyvips.Image:
        # By source: libvips takes "[…]" in a file's name for options.
        source = (
            pyvips.Source.new_from_file(str(self._source))
            if isinstance(self._source, Path)
            else pyvips.Source.new_from_memory(self._source)
        )
        return pyvips.Image.new_from_source(source, "", access="sequential", fail_on="error")

    def _whole_jxl(self) -> pyvips.Image:
        """All of a JPEG XL, which libvips' wheels do not read: its size is checked before."""
        data = self._source if isinstance(self._source, bytes) else self._source.read_bytes()
        try:
            self._check_size(*jxl.read_size(data))
            return jxl.read_image(data)
        except (ValueError, struct.error) as err:
            raise self._refusal(err) from err

    def _check_size(self, height: int, width: int) -> None:
        if height * width > self._max_mpx * 1e6:
            raise LimitExceededError(
                f"{self._name} must be at most {self._max_mpx:g} megapixels, "
                f"got {width}x{height} px"
            )

    def _head(self) -> bytes:
        """The first bytes. libvips would try every reader it has; only these kinds are meant."""
        if isinstance(self._source, bytes):
            head = self._source[:8]
        else:
            with self._source.open("rb") as file:
                head = file.read(8)
        if not head.startswith(_MAGIC):
            raise InvalidRequestError(
                f"{self._name} must be a PNG, JPEG, WebP, JPEG XL or TIFF picture, got {head!r}"
            )
        return head

    def _refusal(self, err: Exception) -> InvalidRequestError:
        reason = " ".join(str(err).split())
        return InvalidRequestError(
            f"{self._name} must be a whole PNG, JPEG, WebP, JPEG XL or TIFF picture: {reason}"
        )
