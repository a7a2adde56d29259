"""What a JPEG says of itself before it is decoded: whether it is whole, and its size.

ITU-T T.81: markers and segments in annex B.1, their order in B.2.
"""

from __future__ import annotations

import re

SIGNATURE = b"\xff\xd8"
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""Within a scan 00 follows each byte FF of data; D0 to D7 restart it, FF fills."""
_START, _END, _TEMPORARY = 0xD8, 0xD9, 0x01
_NOT_A_FRAME = (0xC4, 0xC8, 0xCC)
"""Tables, among the markers C0 to CF of frames."""


def is_whole(data: bytes) -> bool:
    """Whether the end marker is reached from the start, segment by segment.

    What follows it, as some cameras and editors append, does not count; nor does a preview in a segment,
    which has an end marker of its own.
    """
    if not data.startswith(SIGNATURE):
        return False
    at = len(SIGNATURE)
    while (found := _MARKER.search(data, at)) is not None:
        marker, at = data[found.end() - 1], found.end()
        if marker == _END:
            return True
        if marker not in (_START, _TEMPORARY):
            at += int.from_bytes(data[at : at + 2], "big")  # the length counts itself
    return False


def size_hw(data: bytes) -> tuple[int, int]:
    """Height and width that the first frame header of a JPEG that :func:`is_whole` states; else zeros."""
    at = len(SIGNATURE)
    while (found := _MARKER.search(data, at)) is not None:
        marker, at = data[found.end() - 1], found.end()
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_A_FRAME:
            return int.from_bytes(data[at + 3 : at + 5], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        if marker not in (_START, _TEMPORARY):
            at += int.from_bytes(data[at : at + 2], "big")
    return 0, 0
