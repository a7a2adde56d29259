"""Watches the RTP packets of a stream: which pictures lost some, when each arrived and was captured."""

from __future__ import annotations

import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from danet_runtime.gstreamer.library import NO_TIME
from danet_runtime.gstreamer.rtp_arrivals import Settling
from danet_runtime.sources.coded.pictures import Codec, begins_picture

HEADER_BYTES: Final = 64
"""The first bytes of a packet, which are enough."""

_KEPT: Final = 512
_NTP_OF_UNIX: Final = 2_208_988_800  # seconds from 1900 to 1970
_SENDER_REPORT: Final = 200
_LONG_NS: Final = 1_000_000_000
"""Timestamps that fall back by more count from another beginning."""


@dataclass
class Picture:
    """The facts about one picture, besides its pixels.

    Attributes:
        rtp_time: RTP timestamp of the picture's packets, extended beyond 32 bits.
        arrival_ns: When its first packet came, on the clock of :mod:`danet_runtime.clock`.
        source: Synchronization source of the stream (SSRC).
        gaps: How often packets had gone missing by its last one. A picture of which some are missing may come
            no further than to the depayloader, so what is lost is told by the next.
        lost_inside: Whether some of the picture's own packets are missing.
        is_dated: Whether it came at the pace of the stream; else it has waited for an unknown time.
    """

    rtp_time: int
    arrival_ns: int
    source: int
    gaps: int = 0
    lost_inside: bool = False
    is_dated: bool = True


class RtpWatch:
    """Follows the packets of one stream, in the order in which the depayloader gets them.

    Args:
        codec: Codec whose beginnings of pictures it knows. Of another codec it knows none, so what follows a
            gap is taken for the rest of a picture.
        clock_rate: Number of ticks of RTP time a second.
    """

    def __init__(self, codec: Codec | None, clock_rate: int = 90_000) -> None:
        self._codec = codec
        self._rate = clock_rate
        self._pictures: OrderedDict[int, Picture] = OrderedDict()
        self._last: Picture | None = None
        self._sequence = -1
        self._gaps = 0
        self._was_marked = True
        self._settling = Settling()
        self._pts = -_LONG_NS

    def packet(self, data: bytes, pts: int, arrival_ns: int) -> int:
        """One packet.

        Args:
            data: Its first :data:`HEADER_BYTES`.
            pts: The timestamp that GStreamer gave it.
            arrival_ns: When it came.

        Returns:
            The timestamp that it is to have instead, by which its picture is known further on: one that no
            other picture has. A jitterbuffer that estimates the sender's clock anew gives several the same.
        """
        if len(data) < 12:
            return pts
        first, second, sequence, stamp, source = struct.unpack_from(">BBHII", data)
        last = self._last
        step = (sequence - self._sequence) & 0xFFFF
        if last is not None and step == 0:
            return self._pts  # sent twice
        is_new = last is None or source != last.source
        has_gap = is_new or step != 1
        if last is not None and not is_new and stamp == last.rtp_time & 0xFFFFFFFF:
            picture = last
        else:
            picture = Picture(self._extended(stamp, None if is_new else last), arrival_ns, source)
            if is_new:
                self._settling = Settling()
            is_taken = pts != NO_TIME and 0 <= self._pts - pts < _LONG_NS
            self._pts = self._pts + 1 if is_taken else pts
            picture.is_dated = self._settling.is_over(self.time_ns(picture), arrival_ns)
            if has_gap and last is not None and not self._was_marked:
                last.lost_inside = True
        if has_gap:
            self._gaps += 1
            if picture is last or not self._begins(data, first):
                picture.lost_inside = True
        picture.gaps = self._gaps
        self._last, self._sequence, self._was_marked = picture, sequence, bool(second & 0x80)
        if self._pictures.get(self._pts) is not picture:
            self._pictures[self._pts] = picture
            if len(self._pictures) > _KEPT:
                self._pictures.popitem(last=False)
        return self._pts

    def of(self, pts: int) -> Picture | None:
        """The picture with a timestamp, where it is one of the latest."""
        return self._pictures.get(pts)

    def time_ns(self, picture: Picture) -> int:
        """The RTP time of a picture in nanoseconds, from an arbitrary beginning."""
        return picture.rtp_time * 10**9 // self._rate

    def sent_unix_ns(self, picture: Picture, reports: SenderReports) -> int | None:
        """Return its capture time on its sender's wall clock, where that has been reported."""
        report = reports.of(picture.source)
        if report is None:
            return None
        unix_ns, stamp = report
        since = (picture.rtp_time - stamp + 2**31) % 2**32 - 2**31
        return unix_ns + since * 10**9 // self._rate

    @staticmethod
    def _extended(stamp: int, last: Picture | None) -> int:
        if last is None:
            return stamp + 2**32  # room for what comes out of order
        return last.rtp_time + (stamp - last.rtp_time + 2**31) % 2**32 - 2**31

    def _begins(self, data: bytes, first: int) -> bool:
        if self._codec is None:
            return False
        start = 12 + 4 * (first & 0x0F)
        if first & 0x10 and len(data) >= start + 4:
            start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
        return begins_picture(data[start:], self._codec)


class SenderReports:
    """The latest RTCP sender report of each stream: which wall-clock time is which RTP time."""

    def __init__(self) -> None:
        self._reports: dict[int, tuple[int, int]] = {}

    def packet(self, data: bytes) -> None:
        """One compound RTCP packet."""
        while len(data) >= 4:
            length = 4 * (int.from_bytes(data[2:4], "big") + 1)
            if data[1] == _SENDER_REPORT and len(data) >= 20:
                source, seconds, fraction, stamp = struct.unpack_from(">IIII", data, 4)
                if seconds > _NTP_OF_UNIX:  # one without a clock says 0, or counts from its start
                    unix_ns = (seconds - _NTP_OF_UNIX) * 10**9 + (fraction * 10**9 >> 32)
                    self._reports[source] = (unix_ns, stamp)
            data = data[length:]

    def of(self, source: int) -> tuple[int, int] | None:
        """Wall-clock time in Unix nanoseconds and RTP time of a stream's latest report."""
        return self._reports.get(source)
