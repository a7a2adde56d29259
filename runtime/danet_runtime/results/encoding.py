"""Masks and pictures as the bytes of files, and the files."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Final

from danet_runtime.dependencies import opencv
from danet_runtime.errors import SinkError, UsageError
from danet_runtime.files.atomic import replacing
from danet_runtime.frames.arrays import UInt8Array

PICTURE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Suffixes of the pictures that are written, in lower case."""

_HEADER_END: Final = 33  # the signature of 8 bytes, then IHDR: length, name, 13 bytes and the checksum
_COLOR_TYPE_AT: Final = 25
_GREY, _PALETTE = 0, 3


def encode_mask(labels: UInt8Array, palette: UInt8Array | None) -> bytes:
    """Labels as a PNG of 8 bits.

    Args:
        labels: (H, W) uint8; only read.
        palette: (256, 3) uint8 BGR, stored as the file's palette, so that viewers show the colors and readers
            that know palettes get the labels; ``None``: a grey picture, which every reader takes as labels.

    Raises:
        SinkError: OpenCV cannot encode it.
        MissingDependencyError: OpenCV is not installed.
    """
    data = encode_picture(labels, ".png")
    if palette is None:
        return data
    if data[12:16] != b"IHDR" or (data[24], data[_COLOR_TYPE_AT]) != (8, _GREY):
        raise SinkError("OpenCV's PNG of labels is no grey one of 8 bits; write grey masks, without colors")
    # The pixels of a grey PNG of 8 bits and of one with a palette are stored alike (PNG, 11.2.1 and 11.2.2).
    header = data[16:_COLOR_TYPE_AT] + bytes([_PALETTE]) + data[_COLOR_TYPE_AT + 1 : _HEADER_END - 4]
    colors = palette[:, ::-1].tobytes()  # PLTE has RGB
    return data[:8] + _chunk(b"IHDR", header) + _chunk(b"PLTE", colors) + data[_HEADER_END:]


def encode_picture(picture: UInt8Array, suffix: str) -> bytes:
    """A picture in the format of a suffix.

    Args:
        picture: (H, W) or (H, W, 3) uint8, BGR; only read.
        suffix: With its dot, such as ``.png``.

    Raises:
        UsageError: It is none of :data:`PICTURE_SUFFIXES`.
        SinkError: OpenCV cannot encode it.
        MissingDependencyError: OpenCV is not installed.
    """
    if suffix.lower() not in PICTURE_SUFFIXES:
        raise UsageError(f"{suffix!r} is the suffix of no picture; expected {', '.join(PICTURE_SUFFIXES)}")
    cv2 = opencv("writing pictures")
    try:
        done, data = cv2.imencode(suffix.lower(), picture)
    except cv2.error as error:
        raise SinkError(f"OpenCV cannot encode a picture {picture.shape} as {suffix}: {error.err}") from error
    if not done:
        raise SinkError(f"OpenCV cannot encode a picture {picture.shape} as {suffix}; try .png")
    return bytes(data.tobytes())


def save(file: Path, data: bytes) -> Path:
    """Write a file, whole or not at all; one that exists is replaced.

    Returns:
        The path.

    Raises:
        UsageError: It is no regular file.
        SinkError: It cannot be written.
    """
    try:
        with replacing(file) as partial:
            partial.write_bytes(data)
    except OSError as error:
        raise SinkError(f"{file} cannot be written: {error.strerror or error}") from error
    return file


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
