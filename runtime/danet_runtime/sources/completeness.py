"""Whether a picture's data have an end; decoders fill the rest of a cut one with grey and say nothing."""

from __future__ import annotations

JPEG_START = b"\xff\xd8"


def is_complete(data: bytes | bytearray) -> bool:
    """Whether a JPEG or PNG has its end marker; other formats have none, and count as whole."""
    if data.startswith(JPEG_START):  # an end marker after the last start of a scan
        return data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda") >= 0
    if data.startswith(b"\x89PNG"):
        return b"IEND" in data
    return True
