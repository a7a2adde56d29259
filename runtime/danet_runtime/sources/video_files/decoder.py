"""From packets to frames that are whole, and a count of those that are not.

A decoder tells late, and not of everything: it conceals a damaged picture and marks it, then builds others on
it without a mark; and a B picture built on a damaged P is shown, so given out, before that P. So each packet
gets a number in decoding order, and a frame is held back until nothing before it in that order is open.
Where packet N is damaged, all from N on are, until a whole key frame that came later. (Tried on 13 codecs,
packets with flipped, zeroed, cut and random bytes: without holding back up to 3 wrong frames of 60 remain.)
A picture of H.264 that is missing altogether, a hole of zeros in H.264 and H.265, and what FFV1's checksums
show, no decoder tells: they are looked for in the packets. A packet of AV1 that gives no frame before the
next one does is lost; one of H.265 is counted where none comes of it.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from danet_runtime.sources.coded.ffv1_checksums import SliceChecksums
from danet_runtime.sources.coded.h264_frame_numbers import FrameNumbers
from danet_runtime.sources.coded.pictures import Codec, has_hole, is_skipped_leading
from danet_runtime.sources.protocol.damage import DamageReason

_MOST_HELD: Final = 16
"""Frames: no codec puts more of them in another order. Packets that gave no frame are kept as long."""

_FORGOTTEN: Final = 2 * _MOST_HELD
"""Packets that lie so far back give no frame any more; two fields may be two packets."""

_BEFORE_ALL: Final = -1

_CODED: Final[dict[str, Codec]] = {"h264": "h264", "hevc": "h265"}
_LOOKED_INTO: Final = (*_CODED, "ffv1")
_IN_ORDER: Final = ("libdav1d", "libaom-av1", "av1")
"""Decoders of AV1, where each packet gives one frame, in their order."""

_UNTOLD, _INTRA = 0, 1
"""Kinds of PyAV's pictures. CineForm, QuickTime's RLE, Sorenson Video and others call no frame a key."""


@dataclass
class DecodedFrame:
    """One frame in the order of display, or the place of one that is lost.

    Attributes:
        frame: PyAV's, or nothing.
        packet: Number of its packet in decoding order.
        damage: Why it is not to be trusted.
        is_key: Whether decoding can begin here, where it is not damaged.
        position: The earliest time of decoding, in ticks, that no frame before it took: when it is shown in a
            container that has no other times.
    """

    frame: Any
    packet: int
    damage: DamageReason | None = None
    is_key: bool = False
    position: int | None = None


class VideoDecoder:
    """Decodes the packets of one stream, see above.

    Args:
        av: PyAV.
        context: Its decoder, not opened yet, which hands on what packets carry.

    Attributes:
        has_finished: Whether nothing more comes.
        hides_any: Whether a packet was not to be shown, by an edit list.
    """

    def __init__(self, av: Any, context: Any) -> None:  # noqa: ANN401 - of PyAV
        self._av = av
        self._context = context
        self._sent = 0
        self._open: dict[int, bool] = {}  # packets of which nothing has come, and whether they are key frames
        self._breaks: dict[int, DamageReason] = {_BEFORE_ALL: "no key frame yet"}
        self._held: deque[DecodedFrame] = deque()
        self._positions: list[int] = []  # a heap
        self._codec = str(context.name)
        self._parameters = bytes(context.extradata or b"")
        self._numbers = FrameNumbers(self._parameters) if self._codec == "h264" else None
        self._checksums = SliceChecksums()
        self._expected: dict[int, DamageReason] = {}  # that give a frame if they are whole; else, why not
        self.has_finished = False
        self.hides_any = False

    def feed(self, packet: Any, damage: DamageReason | None) -> None:  # noqa: ANN401 - of PyAV
        """Decode one packet.

        Args:
            packet: The next one in decoding order.
            damage: Damage of the packet that is known already.
        """
        data = bytes(packet) if self._codec in _LOOKED_INTO else b""
        if self._numbers is not None and self._numbers.misses_before(data):
            self._break(self._sent, "missing reference", is_key=False)  # the number of what is missing
            self._sent += 1
        if damage is None and self._is_spoilt(data):
            damage = "decoder"
        number = self._sent
        packet.opaque = [number]  # of its own: PyAV knows it by its address, which equal numbers share
        self._sent += 1
        if packet.is_discard:  # never shown, as an edit list wants it, but others build on it
            self.hides_any = True
            if packet.is_keyframe:
                self._breaks.pop(_BEFORE_ALL, None)
        else:
            self._open[number] = bool(packet.is_keyframe)
            may_give_none = self._codec != "hevc" or is_skipped_leading(data, self._parameters)
            if self._codec in _IN_ORDER or not may_give_none:
                self._expected[number] = "decoder"
            if packet.dts is not None:
                heapq.heappush(self._positions, packet.dts)
        if damage is not None:
            self._break(number, damage, is_key=packet.is_keyframe)
        self._decode(packet)

    def miss(self, packets: int) -> None:
        """Note that packets are missing before the next one.

        Whether others build on them H.264 tells by itself; else they do.
        """
        if packets and self._numbers is None:
            self._break(self._sent, "lost packets", is_key=False)
        latest = max(self._positions, default=None)
        for number in range(self._sent, self._sent + packets):
            self._open[number] = False
            self._expected[number] = "lost packets"
            if latest is not None:
                heapq.heappush(self._positions, latest)
        self._sent += packets

    def _is_spoilt(self, data: bytes) -> bool:
        """Whether the bytes of a packet show damage that its decoder keeps to itself."""
        if self._codec == "ffv1":
            return self._checksums.disagree(data)
        codec = _CODED.get(self._codec)
        return codec is not None and has_hole(data, self._parameters, codec)

    def finish(self) -> None:
        """Nothing more comes: give out what is left."""
        self._decode(None)
        self.has_finished = True
        for number in sorted(self._open):
            self._lose(number)
        self._open.clear()

    def frames(self) -> Iterator[DecodedFrame]:
        """Take the frames, in order of display, that nothing still open can spoil."""
        while self._held:
            first = self._held[0].packet
            is_open = any(number < first for number in self._open)
            if is_open and not self.has_finished and len(self._held) <= _MOST_HELD:
                return
            frame = self._held.popleft()
            frame.position = self._next_position()
            yield frame

    def _decode(self, packet: Any) -> None:  # noqa: ANN401 - of PyAV
        try:
            frames = self._context.decode(packet)
        except self._av.error.EOFError:
            return
        except (self._av.FFmpegError, ValueError):
            # With several threads it may be of a packet some time ago: of the first one that is open.
            number = min(self._open, default=self._sent - 1)
            self._break(number, "decoder", is_key=self._open.get(number, False))
            return
        for frame in frames:
            self._place(frame)

    def _place(self, frame: Any) -> None:  # noqa: ANN401 - of PyAV
        number = frame.opaque[0] if frame.opaque else min(self._open, default=self._sent - 1)
        is_key = self._is_key(frame, self._open.pop(number, False))
        self._expected.pop(number, None)
        if self._codec in _IN_ORDER:
            self._miss_before(number)
        for missed in [
            one for one in self._open if one < number and self._expected.get(one) == "lost packets"
        ]:
            del self._open[missed]
            self._lose(missed)
        for old in sorted(one for one in self._open if one < number - _FORGOTTEN):
            del self._open[old]
            if not self._lose(old):
                self._next_position()  # which no frame is to have
        if frame.is_corrupt and (is_key or _BEFORE_ALL not in self._breaks):
            self._break(number, "decoder", is_key=is_key)
        if is_key and not frame.is_corrupt and number not in self._breaks:
            for lost in sorted(one for one in self._open if one < number):
                if self._reason(lost) is not None:
                    del self._open[lost]
                    self._lose(lost)
            self._breaks = {place: why for place, why in self._breaks.items() if place > number}
        self._held.append(DecodedFrame(frame, number, self._reason(number), is_key))

    def _is_key(self, frame: Any, is_key_packet: bool) -> bool:  # noqa: ANN401 - of PyAV
        """Whether decoding can begin here: as the decoder says, or the container where that is mute.

        AV1 may show a key frame a second time, from which nothing begins: there both must say so.
        """
        if frame.key_frame:
            return is_key_packet or self._codec not in _IN_ORDER
        says = self._codec in ("h264", "hevc") or frame.pict_type not in (_UNTOLD, _INTRA)
        return is_key_packet and not says

    def _miss_before(self, number: int) -> None:
        """Count as lost what gave no frame before frame ``number`` came, in a codec that keeps the order."""
        for lost in sorted(one for one in self._open if one < number):
            if self._reason(lost) is None:
                self._break(lost, "decoder", is_key=self._open[lost])
            del self._open[lost]
            self._lose(lost)

    def _lose(self, number: int) -> bool:
        """Count a packet that gave no frame, where something was wrong with it; whether there was."""
        expected = self._expected.pop(number, None)
        reason = self._reason(number) or expected
        if reason is not None:
            self._held.append(DecodedFrame(None, number, reason))
        return reason is not None

    def _next_position(self) -> int | None:
        return heapq.heappop(self._positions) if self._positions else None

    def _break(self, number: int, reason: DamageReason, *, is_key: bool) -> None:
        """From this packet on nothing is to be trusted, up to the next key frame."""
        if is_key:  # there was one, and it is damaged
            self._breaks.pop(_BEFORE_ALL, None)
        self._breaks.setdefault(number, reason)
        for held in self._held:
            if held.is_key and held.damage is None and held.packet > number:
                del self._breaks[number]
                return
            if held.packet >= number and held.damage is None:
                held.damage = self._reason(held.packet)

    def _reason(self, number: int) -> DamageReason | None:
        """Why a frame is not to be trusted."""
        if number in self._breaks:
            return self._breaks[number]
        reasons = {why for place, why in self._breaks.items() if place < number}
        if "no key frame yet" in reasons:
            return "no key frame yet"
        if "lost packets" in reasons:
            return "lost packets"
        return "missing reference" if reasons else None
