"""What a PNG says of itself before it is decoded: whether it is whole, and what its values mean.

PNG specification, third edition: chunks and their CRC in section 5, colour types in section 11.2.1.
"""

from __future__ import annotations

import zlib
from typing import Literal, NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3


class PngHeader(NamedTuple):
    """Of the picture's values.

    Attributes:
        kind: ``grey`` for one value a pixel, ``palette`` for an index into colours, ``other`` with channels.
        bits: Of a value: 1, 2, 4, 8 or 16.
    """

    kind: Literal["grey", "palette", "other"]
    bits: int


def damage(data: bytes) -> str | None:
    """What is wrong with the bytes of a PNG, in words, or None where every chunk agrees with its CRC.

    OpenCV 4 fills the rest of a cut-off picture with black and says nothing.
    """
    if not data.startswith(SIGNATURE):
        return "its first bytes are not a PNG's"
    at = len(SIGNATURE)
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(memoryview(data)[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return f"its part at byte {at} does not agree with its checksum"
        if at == len(SIGNATURE) and (kind != b"IHDR" or length != 13):
            return "it does not begin with its header"
        if kind == b"IEND":
            return None
        at = end
    return f"it is cut off after {len(data)} bytes"


def header(data: bytes) -> PngHeader:
    """The header of a PNG in which :func:`damage` finds nothing."""
    bits, colour = data[24], data[25]
    return PngHeader("grey" if colour == _GREY else "palette" if colour == _PALETTE else "other", bits)


def size_hw(data: bytes) -> tuple[int, int]:
    """Height and width that the header states of a PNG in which :func:`damage` finds nothing."""
    return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
