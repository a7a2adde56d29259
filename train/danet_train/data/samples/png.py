"""What the header of a PNG says of its values; PNG specification, third edition, section 11.2.1."""

from __future__ import annotations

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


def header(data: bytes) -> PngHeader:
    """The header of a whole PNG."""
    bits, colour = data[24], data[25]
    return PngHeader("grey" if colour == _GREY else "palette" if colour == _PALETTE else "other", bits)
