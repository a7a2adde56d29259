"""Whether a video file ends before the end that its container announces.

How many frames there should be, containers tell wrongly or not at all; but MP4, MOV, AVI, Matroska and WebM
say how many bytes they have, and one that was cut off has fewer. A transport stream consists of packets of
one size, and a GIF has an end mark.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Final

_BOXES: Final = (
    *(b"ftyp", b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"uuid", b"styp", b"sidx", b"mfra"),
    *(b"meta", b"emsg", b"pnot", b"udta"),
)
_EBML: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT: Final = b"\x18\x53\x80\x67"
_NO_SIZE: Final = (0, 0xFFFFFFFF)  # AVI whose recording was not closed
_TRANSPORT_SYNC: Final = b"G"
_TRANSPORT_PACKETS: Final = {188: 0, 192: 4}
"""Bytes of a packet, and those that camcorders and discs (.m2ts, .mts) put before each."""
_GIF_TRAILER: Final = b";"
_GIF_TAIL: Final = 4096
_MOST_PARTS: Final = 1 << 20


def missing_bytes(path: Path) -> int:
    """How many bytes a file has fewer than it announces; 0 also where it announces nothing.

    Raises:
        OSError: It cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(2 * max(_TRANSPORT_PACKETS))
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            end = _end_of_riff(file, size)
        elif head[:4] == _EBML:
            end = _end_of_matroska(file)
        elif head[4:8] in _BOXES:
            end = _end_of_boxes(file, size)
        elif head[:4] == b"GIF8":
            end = _end_of_gif(file, size)
        else:
            end = _end_of_transport(file, size, head)
    return max(0, end - size)


def _end_of_riff(file: BinaryIO, size: int) -> int:
    """AVI: one list, or one after the other (OpenDML)."""
    end = 0
    while end < size:
        file.seek(end)
        head = file.read(8)
        length = int.from_bytes(head[4:], "little")
        if head[:4] != b"RIFF" or length in _NO_SIZE:
            break
        end += 8 + length + length % 2
        if end == size + 1 and length % 2:  # the last byte is only padding
            return size
    return end


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """MP4 and MOV: boxes, each with its length; what is no box behind them does not count."""
    end = 0
    for _ in range(_MOST_PARTS):
        file.seek(end)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if end >= size or kind not in _BOXES or length == 0:  # 0: up to the end of the file
            break
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        if length < 8:
            break
        end += length
    return end


def _end_of_matroska(file: BinaryIO) -> int:
    """Matroska and WebM: a header, then one segment with everything."""
    file.seek(len(_EBML))
    length = _variable(file)
    if length is None:
        return 0
    file.seek(length, 1)
    if file.read(4) != _SEGMENT:
        return 0
    length = _variable(file)
    return 0 if length is None else file.tell() + length


def _end_of_gif(file: BinaryIO, size: int) -> int:
    """One byte further where its trailer is missing; zeros behind it do not count."""
    file.seek(max(0, size - _GIF_TAIL))
    return size if file.read().rstrip(b"\0").endswith(_GIF_TRAILER) else size + 1


def _end_of_transport(file: BinaryIO, size: int, head: bytes) -> int:
    """MPEG-TS, plain or with four bytes before each packet: the end of its last packet, if it has begun."""
    for length, before in _TRANSPORT_PACKETS.items():
        first, second = head[before : before + 1], head[before + length : before + length + 1]
        if first == second == _TRANSPORT_SYNC:
            rest = size % length
            file.seek(size - rest + before)
            if rest and file.read(1) in (_TRANSPORT_SYNC, b""):
                return size - rest + length
    return 0


def _variable(file: BinaryIO) -> int | None:
    """A number of EBML: the leading zeros of its first byte say how long it is; all ones: unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    rest = file.read(more)
    value = int.from_bytes(bytes([first[0] & (0x7F >> more)]) + rest, "big")
    return None if value == (1 << 7 * (more + 1)) - 1 else value
