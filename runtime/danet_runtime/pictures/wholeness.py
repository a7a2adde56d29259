"""Whether the file of a picture is whole: decoders fill the rest of a cut one with grey and say nothing.

PNG specification, third edition: chunks and their CRC in section 5. ITU-T T.81: markers and segments in annex
B.1, their order in B.2.

``danet_train`` and ``danet_runtime`` import no sibling, so each has this file; a test holds them equal.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Final

from danet_runtime.pictures.header import jpeg_frame

PNG_START: Final = b"\x89PNG\r\n\x1a\n"
JPEG_START: Final = b"\xff\xd8"
_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""Within a scan 00 follows each byte FF of data; D0 to D7 restart it, FF fills."""
_START, _END, _TEMPORARY = 0xD8, 0xD9, 0x01
_LEAST_BITS: Final = {0xC0: 2, 0xC1: 2, 0xC2: 1}
"""Of a block, by the frame's marker: baseline, extended, progressive, all of them with Huffman codes."""
_BMP_HEADER_BYTES: Final = 40
_BMP_UNCOMPRESSED: Final = (0, 3)


def damage(data: bytes) -> str | None:
    """Describe the damage of a picture's bytes, in words to follow its name; None where nothing shows.

    A JPEG has no checksums: that it is cut off is found out, and that it states a size for which its bytes
    are too few; damage in its middle is not. Of a TIFF, a PNM and the pixels of a WebP OpenCV's decoders find
    out themselves.
    """
    if data.startswith(PNG_START):
        return _png(data)
    if data.startswith(JPEG_START):
        return _jpeg(data)
    if data.startswith(b"BM") and _is_cut_bmp(data):
        return f"is cut off after {len(data)} bytes, or its header is damaged"
    if data.startswith(b"RIFF") and 8 + int.from_bytes(data[4:8], "little") > len(data):
        return f"is cut off after {len(data)} bytes"
    return None


def has_end(data: bytes | bytearray) -> bool:
    """Whether a JPEG or PNG has its end marker; other formats have none, and count as whole.

    Less than :func:`damage` sees, and enough to tell a camera's picture that was cut off from one in which
    the decoder will meet an error.
    """
    if data.startswith(JPEG_START):  # an end marker after the last start of a scan
        return data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda") >= 0
    if data.startswith(PNG_START):
        return b"IEND" in data
    return True


def _png(data: bytes) -> str | None:
    """Every chunk must agree with its CRC."""
    at = len(PNG_START)
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(memoryview(data)[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return f"is damaged: its part at byte {at} does not agree with its checksum"
        if at == len(PNG_START) and (kind != b"IHDR" or length != 13):
            return "is damaged: it does not begin with its header"
        if kind == b"IEND":
            return None
        at = end
    return f"is cut off after {len(data)} bytes"


def _jpeg(data: bytes) -> str | None:
    """It must reach its end marker, and have bytes enough for the blocks of 8 x 8 that it states.

    A code of Huffman's has at least one bit, and a block of pixels two codes; one in a progressive JPEG's
    first scan. libjpeg makes up what is missing, in grey.
    """
    if not _jpeg_is_whole(data):
        return f"is cut off after {len(data)} bytes, or damaged"
    frame = jpeg_frame(data)
    blocks = -(-frame.height // 8) * -(-frame.width // 8)
    if blocks * _LEAST_BITS.get(frame.marker, 0) > 8 * len(data):
        return f"states {frame.height}x{frame.width} pixels (height x width), for {len(data)} bytes too many"
    return None


def _jpeg_is_whole(data: bytes) -> bool:
    """Whether the end marker is reached from the start, segment by segment.

    What follows it, as some cameras and editors append, does not count; nor does a preview in a segment,
    which has an end marker of its own.
    """
    at = len(JPEG_START)
    while (found := _MARKER.search(data, at)) is not None:
        marker, at = data[found.end() - 1], found.end()
        if marker == _END:
            return True
        if marker not in (_START, _TEMPORARY):
            at += int.from_bytes(data[at : at + 2], "big")  # the length counts itself
    return False


def _is_cut_bmp(data: bytes) -> bool:
    """Whether the rows that an uncompressed BMP states are more than there is."""
    try:
        offset, header_bytes = struct.unpack_from("<II", data, 10)
        if header_bytes < _BMP_HEADER_BYTES:  # OS/2's, which OpenCV checks
            return False
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    except struct.error:
        return True
    row_bytes = (abs(width) * bits + 31) // 32 * 4
    return compression in _BMP_UNCOMPRESSED and offset + row_bytes * abs(height) > len(data)
