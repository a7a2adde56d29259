"""Where the chain of parts breaks that a video file is made of: readers pass over what stood there.

Matroska and WebM (RFC 9559, on RFC 8794) and AVI (RIFF) are parts one behind the other, each with its length.
One wrong byte in a length, and FFmpeg looks for the next place at which it can begin anew, seconds later
perhaps. The content of the parts is not looked at.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final, NamedTuple

_EBML: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT: Final = 0x18538067
_CLUSTER: Final = 0x1F43B675
_ANYWHERE: Final = (0xEC, 0xBF)  # void, CRC-32
_IN_SEGMENT: Final = frozenset({
    *(_CLUSTER, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1043A770, 0x1C53BB6B, 0x1941A469, 0x1254C367),
    *_ANYWHERE,
})  # fmt: skip
_IN_CLUSTER: Final = frozenset({0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF, *_ANYWHERE})
_CLUSTER_BYTES: Final = _CLUSTER.to_bytes(4, "big")

_AVI_PART: Final = re.compile(rb"[0-9A-Za-z_ ]{4}")
_AVI_FRAME: Final = re.compile(rb"\d\d(?:dc|db|wb)")
MOST_LOST: Final = 100_000
"""Frames that are counted as missing in a file at most: an hour at 28 a second."""

_NO_SIZE: Final = (0, 0xFFFFFFFF)  # of a list whose recording was not closed


class _Element(NamedTuple):
    """An element of EBML.

    Attributes:
        kind: Its id.
        body: Offset at which its content begins.
        end: Offset at which its content ends; ``None`` where its length is not stated.
    """

    kind: int
    body: int
    end: int | None


class Gaps:
    """How many packets a file lacks where the chain of its parts is broken.

    Args:
        breaks: The places, in bytes, in order.
        fps: Frames a second, where they are known.
        tick: Length of one, in seconds.
        lacking: How many are missing in all, where the times do not tell, as those of AVI, which only count.
        most: How many may be missing in all; a damaged time may tell of any number.
        reach_back: Whether what is broken may reach into the packet before, and nobody else tells.
        most_s: Longest gap in seconds that counts as loss; in a longer one two recordings were joined.

    Attributes:
        is_behind_a_break: Whether there is a break between the last packet and the one before it.
    """

    def __init__(
        self,
        breaks: list[int],
        fps: float | None,
        tick: Fraction,
        *,
        lacking: int | None = None,
        most: int = MOST_LOST,
        reach_back: bool = True,
        most_s: float = float("inf"),
    ) -> None:
        self._breaks = breaks
        self.reach_back = reach_back
        self._most_ticks = most_s / float(tick)
        self._ticks_a_frame = float(1 / (fps * tick)) if fps else None
        self._last: int | None = None
        self._lacking = lacking
        self._most = most
        self.is_behind_a_break = False

    @property
    def has_more(self) -> bool:
        """Whether there is a break behind the last packet."""
        return bool(self._breaks)

    def before(self, at: int | None, time: int | None) -> int:
        """How many are missing before a packet.

        Args:
            at: Offset of the packet in the file, in bytes.
            time: Time of the packet in the order of decoding, in ticks.
        """
        self.is_behind_a_break = False
        while self._breaks and at is not None and self._breaks[0] <= at:
            del self._breaks[0]
            self.is_behind_a_break = True
        last, self._last = self._last, time if self._last is None else max(self._last, time or 0)
        if not self.is_behind_a_break or last is None or time is None or time - last > self._most_ticks:
            return 0
        if self._lacking is not None:
            lost = min(1, self._lacking) if self._breaks else self._lacking
            self._lacking -= lost
        else:
            lost = max(0, round((time - last) / self._ticks_a_frame) - 1) if self._ticks_a_frame else 0
        lost = min(lost, self._most)
        self._most -= lost
        return lost


def breaks_of(path: Path) -> list[int]:
    """The places, in bytes, at which the chain of a video's packets is broken; none in other kinds of files.

    That a file is cut off is no such place (:mod:`danet_runtime.sources.video_files.ends`), nor is what
    follows the last packets, as the zeros of recorders that reserve their room.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:] == b"AVI ":
            walk = _breaks_of_avi
        elif head[:4] == _EBML:
            walk = _breaks_of_matroska
        else:
            return []
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return list(walk(data))


def _breaks_of_matroska(data: mmap.mmap) -> Iterator[int]:
    header = _element(data, 0)
    segment = _element(data, header.end) if header is not None and header.end is not None else None
    if segment is None or segment.kind != _SEGMENT:
        return
    at, end = segment.body, min(segment.end or len(data), len(data))
    broken: int | None
    while at < end:
        element = _element(data, at)
        if element is None or element.kind not in _IN_SEGMENT:
            broken, is_in_a_cluster = at, False
        elif element.kind == _CLUSTER:
            broken, at = _through_cluster(data, element, end)
            is_in_a_cluster = element.end is not None
        else:
            broken, at = None, end if element.end is None else element.end
        if broken is None:
            continue
        at = data.find(_CLUSTER_BYTES, broken + 1, end)
        if at >= 0 or is_in_a_cluster:
            yield broken
        if at < 0:
            return


def _through_cluster(data: mmap.mmap, cluster: _Element, end: int) -> tuple[int | None, int]:
    """The first broken place in a cluster, if any, and where the cluster ends."""
    at, last = cluster.body, end if cluster.end is None else min(cluster.end, end)
    while at < last:
        element = _element(data, at)
        if element is not None and cluster.end is None and element.kind in _IN_SEGMENT - {*_ANYWHERE}:
            return None, at
        if element is None or element.kind not in _IN_CLUSTER or element.end is None:
            return at, last
        if element.end > last:
            is_cut_off = last == len(data) and data.find(_CLUSTER_BYTES, at) < 0
            return (None if is_cut_off else at), last
        at = element.end
    return None, at


def _element(data: mmap.mmap, at: int) -> _Element | None:
    """The element that begins at a place; ``None`` where none does."""
    first = data[at] if at < len(data) else 0
    id_bytes = 9 - first.bit_length()
    if not first or id_bytes > 4 or at + id_bytes >= len(data):
        return None
    kind = int.from_bytes(data[at : at + id_bytes], "big")
    at += id_bytes
    size_bytes = 9 - data[at].bit_length()
    if size_bytes > 8 or at + size_bytes > len(data):
        return None
    size = int.from_bytes(data[at : at + size_bytes], "big") & (1 << 7 * size_bytes) - 1
    body = at + size_bytes
    return _Element(kind, body, None if size == (1 << 7 * size_bytes) - 1 else body + size)


def _breaks_of_avi(data: mmap.mmap) -> Iterator[int]:
    begin = 0
    while data[begin : begin + 4] == b"RIFF":  # one, or one after the other (OpenDML)
        end = _end_of(data, begin, len(data))
        at = begin + 12
        while at + 12 <= end:
            after = _end_of(data, at, end)
            if data[at : at + 4] == b"LIST" and data[at + 8 : at + 12] == b"movi":
                yield from _breaks_of_film(data, at + 12, after)
            at = after + after % 2
        begin = end + end % 2


def _breaks_of_film(data: mmap.mmap, at: int, end: int) -> Iterator[int]:
    while at + 8 <= end:
        kind, after = data[at : at + 4], at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"LIST" and data[at + 8 : at + 12] == b"rec ":
            at += 12
        elif _AVI_PART.fullmatch(kind) is not None and after <= end:
            is_unpadded = after % 2 and _AVI_PART.match(data[after : after + 4]) is not None
            at = after if is_unpadded else after + after % 2
        else:
            found = _AVI_FRAME.search(data, at + 1, end)
            if found is None:
                return
            yield at
            at = found.start()


def _end_of(data: mmap.mmap, at: int, most: int) -> int:
    """Where a list or a chunk of RIFF ends; ``most`` where it does not say, or says more."""
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    return most if size in _NO_SIZE else min(at + 8 + size, most)
