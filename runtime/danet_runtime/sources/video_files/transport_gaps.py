"""Where packets of a transport stream are missing from a file, by their counters (ISO/IEC 13818-1, 2.4.3).

FFmpeg reads the counters too, and marks a picture of which a part is missing; of one that is missing with all
of its packets, as a small one is, it says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from danet_runtime.frames.arrays import UInt8Array

_SYNC: Final = 0x47
_PACKET: Final = 188  # bytes
_SIZES: Final = (188, 192, 204)  # plain, with a time in front of each (AVCHD), with a correction behind
_IN_A_ROW: Final = 5
_LOOKED_AT_ONCE: Final = 1 << 17  # packets
_SEARCHED: Final = 1 << 16  # bytes, for the next packet behind a piece that is none


def gaps_of(path: Path, pid: int) -> list[int]:
    """The places, in bytes, at which packets of one stream are missing.

    Losses of exact multiples of 16 packets are not seen.

    Args:
        path: A transport stream.
        pid: Packet identifier (PID) of the stream in it.

    Raises:
        OSError: It cannot be read.
    """
    data = np.memmap(path, np.uint8, "r")
    gaps: list[int] = []
    before: tuple[int, int] | None = None  # place and counter
    for at, size, count in _runs(data):
        places, counters, begins_anew = _counted(data, at, size, count, pid)
        if not len(places):
            continue
        first, counter = before or (int(places[0]), int(counters[0]))
        steps = np.diff(counters, prepend=counter) % 16
        behind = np.concatenate([[first], places[:-1]])
        for number in np.nonzero((steps != 1) & ~begins_anew)[0]:
            place, last = int(places[number]), int(behind[number])
            is_sent_twice = bool((data[place : place + _PACKET] == data[last : last + _PACKET]).all())
            if steps[number] or not is_sent_twice:
                gaps.append(place)
        before = int(places[-1]), int(counters[-1])
    return gaps


def _counted(
    data: UInt8Array, at: int, size: int, count: int, pid: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The packets that carry some of one stream: places, counters, and whether these begin anew."""
    end = at + count * size
    high, low, flags, length, further = (data[at + byte : end : size] for byte in range(1, 6))
    has_payload = flags & 0x10 != 0
    is_mine = (((high & 0x1F).astype(np.int64) << 8) + low == pid) & has_payload
    (numbers,) = np.nonzero(is_mine)
    begins_anew = (flags & 0x20 != 0) & (length > 0) & (further & 0x80 != 0)
    return at + numbers * size, (flags[numbers] & 0x0F).astype(np.int64), begins_anew[numbers]


def _runs(data: UInt8Array) -> Iterator[tuple[int, int, int]]:
    """Where packets follow each other, their size, and how many do, in blocks of limited size."""
    at = 0
    while (found := _next_packet(data, at)) is not None:
        at, size = found
        while at + size <= len(data):
            count = min(_LOOKED_AT_ONCE, (len(data) - at) // size)
            is_packet = data[at : at + count * size : size] == _SYNC
            whole = count if is_packet.all() else int(np.argmin(is_packet))
            if not whole:
                break
            yield at, size, whole
            at += whole * size


def _next_packet(data: UInt8Array, at: int) -> tuple[int, int] | None:
    """Where several packets follow each other from a place on, and their size."""
    while at < len(data):
        piece = data[at : at + _SEARCHED + _IN_A_ROW * max(_SIZES)]
        firsts = []
        for size in _SIZES:
            starts = len(piece) - (_IN_A_ROW - 1) * size
            if starts > 0:
                follow = [
                    piece[number * size : number * size + starts] == _SYNC for number in range(_IN_A_ROW)
                ]
                (found,) = np.nonzero(np.logical_and.reduce(follow))
                firsts += [(int(found[0]), size)] if len(found) else []
        if firsts:
            first, size = min(firsts)
            return at + first, size
        at += _SEARCHED
    return None
