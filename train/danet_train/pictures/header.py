"""Reads a picture's size, and where it ends, from its bytes, before anything is allocated and decoded.

A PNG of 2.5 MiB may state 30000 x 30000 pixels, which OpenCV takes 5.3 GiB to decode. Read are the formats
that this project takes: PNG, JPEG, BMP, TIFF, WebP, PBM, PGM and PPM, each as OpenCV's decoder reads it.

``danet_train`` and ``danet_runtime`` import no sibling, so each has this file; a test holds them equal.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

MOST_PIXELS: Final = 89_478_485
"""Pixels of a picture or frame at most: 256 MiB as BGR, where Pillow sees a bomb. 8K has 33 million."""

MOST_SIDE: Final = 16384
"""Height and width of a frame at most."""

PictureFormat = Literal["PNG", "JPEG", "BMP", "TIFF", "WebP", "PNM"]

_PNG_START: Final = b"\x89PNG\r\n\x1a\n"
_JPEG_START: Final = b"\xff\xd8"
_GAP: Final = rb"(?:\s|#[^\n]*\n)+"
_NETPBM: Final = re.compile(rb"P[1-6]" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})\s")
_NETPBM_MOST: Final = re.compile(rb"P[2356]" + (_GAP + rb"\d{1,9}") * 2 + _GAP + rb"(\d{1,5})\s")
_NETPBM_HEADER_BYTES: Final = 4096
_BMP_OLD_HEADER: Final = 12
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 256, 257, 322, 323
_TIFF_SHORT, _TIFF_LONG, _TIFF_LONG8 = 3, 4, 16
_BIG_TIFF: Final = 43
_NOT_A_FRAME: Final = (0xC4, 0xC8, 0xCC)  # JPEG's tables among the markers C0 to CF
_WITHOUT_LENGTH: Final = (0x01, *range(0xD0, 0xD9))


class PictureHeader(NamedTuple):
    """The format and size that a picture states.

    Attributes:
        format: Format by the first bytes of the file, whatever its name ends in.
        height: Height in pixels, before any turn that EXIF asks for.
        width: Width in pixels, before any such turn.
    """

    format: PictureFormat
    height: int
    width: int


class JpegFrame(NamedTuple):
    """The frame header of a JPEG (ITU-T T.81, B.2.2).

    Attributes:
        marker: The byte that says how the frame is coded, C0 to CF.
        height: Height in pixels.
        width: Width in pixels.
    """

    marker: int
    height: int
    width: int


def read_header(data: bytes) -> PictureHeader | None:
    """The header of a picture; ``None`` where it is of no known format, or breaks off in its header."""
    for is_mine, kind, size_of in _FORMATS:
        if is_mine(data):
            try:
                height, width = size_of(data)
            except (struct.error, IndexError, ValueError):
                return None
            return PictureHeader(kind, height, width)
    return None


def _png(data: bytes) -> tuple[int, int]:
    kind, width, height = struct.unpack_from(">4sII", data, 12)
    if kind != b"IHDR":
        raise ValueError(kind)
    return height, width


def _jpeg(data: bytes) -> tuple[int, int]:
    frame = jpeg_frame(data)
    return frame.height, frame.width


def jpeg_frame(data: bytes) -> JpegFrame:
    """The first frame header; libjpeg skips what stands between segments, and refuses a second frame.

    Raises:
        ValueError: There is none.
        IndexError: It is cut off.
        struct.error: It is cut off.
    """
    at = 2
    while True:
        at = data.index(b"\xff", at) + 1
        marker = data[at]
        if marker in (0x00, 0xFF):
            continue
        at += 1
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_A_FRAME:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return JpegFrame(marker, height, width)
        if marker not in _WITHOUT_LENGTH:
            at += struct.unpack_from(">H", data, at)[0]


def _bmp(data: bytes) -> tuple[int, int]:
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    form = "<HH" if header_bytes == _BMP_OLD_HEADER else "<ii"
    width, height = struct.unpack_from(form, data, 18)
    return abs(height), abs(width)  # a negative height: rows from the top


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":  # the canvas; what does not fit into it is refused by libwebp
        return 1 + int.from_bytes(data[27:30], "little"), 1 + int.from_bytes(data[24:27], "little")
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    raise ValueError(kind)


def _tiff(data: bytes) -> tuple[int, int]:
    """Of the first picture; a tile that is larger counts, as it is allocated whole."""
    order = "<" if data[:2] == b"II" else ">"
    (version,) = struct.unpack_from(f"{order}H", data, 2)
    if version == _BIG_TIFF:
        (directory,) = struct.unpack_from(f"{order}Q", data, 8)
        (count,) = struct.unpack_from(f"{order}Q", data, directory)
        first, entry_bytes, value_at = directory + 8, 20, 12
    else:
        (directory,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, directory)
        first, entry_bytes, value_at = directory + 2, 12, 8
    forms = {_TIFF_SHORT: "H", _TIFF_LONG: "I", _TIFF_LONG8: "Q"}
    found = {_TIFF_TILE_WIDTH: 0, _TIFF_TILE_HEIGHT: 0}
    for at in range(first, min(first + entry_bytes * count, len(data)), entry_bytes):
        tag, kind = struct.unpack_from(f"{order}HH", data, at)
        if kind in forms:
            (found[tag],) = struct.unpack_from(f"{order}{forms[kind]}", data, at + value_at)
    if _TIFF_WIDTH not in found or _TIFF_HEIGHT not in found:
        raise ValueError("no size")
    return max(found[_TIFF_HEIGHT], found[_TIFF_TILE_HEIGHT]), max(
        found[_TIFF_WIDTH], found[_TIFF_TILE_WIDTH]
    )


def _netpbm(data: bytes) -> tuple[int, int]:
    match = _NETPBM.match(data[:_NETPBM_HEADER_BYTES])
    if match is None:
        raise ValueError("no size")
    return int(match[2]), int(match[1])


def netpbm_white(data: bytes) -> int:
    """The value that a PGM or PPM states for white, ``maxval``; 255 for a PBM, and where none is stated."""
    match = _NETPBM_MOST.match(data[:_NETPBM_HEADER_BYTES])
    return int(match[1]) if match is not None else 255


_FORMATS: Final[
    tuple[tuple[Callable[[bytes], bool], PictureFormat, Callable[[bytes], tuple[int, int]]], ...]
] = (
    (lambda data: data.startswith(_PNG_START), "PNG", _png),
    (lambda data: data.startswith(_JPEG_START), "JPEG", _jpeg),
    (lambda data: data.startswith(b"BM"), "BMP", _bmp),
    (lambda data: data.startswith(b"RIFF") and data[8:12] == b"WEBP", "WebP", _webp),
    (lambda data: data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")), "TIFF", _tiff),
    (lambda data: re.match(rb"P[1-6]\s", data) is not None, "PNM", _netpbm),
)
