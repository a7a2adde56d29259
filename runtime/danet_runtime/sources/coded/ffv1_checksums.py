"""Checksums of FFV1, which archives keep to find damage: its decoder of FFmpeg reads them and gives no sign.

From version 3 on each slice ends with its size, and, where the stream wants it, an error status and a CRC
over all of it (RFC 9043, 4.9). A slice that does not agree is replaced by that of the picture before, without
a mark on the frame.
"""

from __future__ import annotations

import zlib
from typing import Final

_MIRRORED: Final = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
_FOOTER: Final = 8  # bytes: 3 of the size, 1 of the status, 4 of the CRC
_SIZE: Final = 3
_NOTHING_LEFT: Final = 0xFFFFFFFF


class SliceChecksums:
    """Checks one stream, packet by packet.

    Only where a packet agreed is it known that the stream has checksums: before, none is called damaged.
    """

    def __init__(self) -> None:
        self._are_there = False

    def disagree(self, data: bytes) -> bool:
        """Whether a packet is not what its checksums were made of."""
        is_whole = _agrees(data)
        self._are_there |= is_whole
        return self._are_there and not is_whole


def _agrees(data: bytes) -> bool:
    """Slice by slice from the last one, whose size stands at its end."""
    end = len(data)
    while end >= _FOOTER:
        size_at = end - _FOOTER
        begin = size_at - int.from_bytes(data[size_at : size_at + _SIZE], "big")
        if not 0 <= begin < size_at or not _is_divided(data[begin:end]):  # zeros would be a slice of none
            return False
        end = begin
    return end == 0 and bool(data)


def _is_divided(piece: bytes) -> bool:
    """Whether a piece with its CRC leaves no rest: CRC-32 with the highest bit first, which begins with 0.

    zlib's has the lowest bit first, begins with ones, and inverts the end.
    """
    return zlib.crc32(piece.translate(_MIRRORED), _NOTHING_LEFT) == _NOTHING_LEFT
