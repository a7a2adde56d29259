"""Before a decoder: what builds on a picture that never came whole is kept back, to the next key frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from danet_runtime.gstreamer.rtp_watch import Picture
from danet_runtime.sources.coded.pictures import PictureStart
from danet_runtime.sources.protocol.damage import DamagePolicy, DamageReason


@dataclass(frozen=True)
class Verdict:
    """The decision on one coded picture.

    Attributes:
        passes: Whether the decoder gets the picture.
        damage: Why the frame that is decoded from it is not to be trusted; ``None`` where it is.
        asks: Whether a key frame is to be asked for.
    """

    passes: bool
    damage: DamageReason | None = None
    asks: bool = False


GOOD: Final = Verdict(True)


class PictureGate:
    """Decides for one picture after the other, in the order in which they are decoded.

    Until the first key frame nothing is passed, nor from a loss to the next key frame; what is shown before a
    key frame that others are shown before (an open group) neither. A picture from which on a stream renews
    itself bit by bit (a recovery point) is passed, and what follows, but not trusted before it is whole.

    A decoder that begins at such a point has nothing that its first picture could build on. FFmpeg's makes up
    a substitute, except where the picture's ``frame_num`` is 0 or 1: that one it leaves out, and with it the
    part that is renewed by it (40 corrupt frames of 50 in 11 of 24 joins, none flagged). So the first such
    point only gets a decoder going, and the next one counts.

    Args:
        damaged: ``mark`` passes what would be kept back, for the decoder to make of it what it can.
    """

    def __init__(self, damaged: DamagePolicy) -> None:
        self._marks = damaged == "mark"
        self._waits: DamageReason | None = "no key frame yet"
        self._recovers_in = -1  # pictures; -1: it does not
        self._is_decoding = False
        self._shown_from = -1
        self._has_asked = False
        self._gaps = 0

    def must_see(self, picture: Picture | None) -> bool:
        """Whether what the next picture is makes a difference; else only that it lost nothing counts."""
        return self._waits is not None or (picture is not None and self.is_after_loss(picture))

    def is_after_loss(self, picture: Picture) -> bool:
        """Whether packets went missing since the picture that was judged last, or in this one."""
        return picture.lost_inside or picture.gaps != self._gaps

    def lost(self, reason: DamageReason) -> None:
        """Note that data is missing on which the next pictures build."""
        if self._waits is None:
            self._has_asked = False
        if self._waits != "no key frame yet":
            self._waits = reason
        self._recovers_in = -1

    def judge(self, start: PictureStart, pts: int, picture: Picture | None) -> Verdict:
        """Decide whether the decoder gets a picture, and whether its frame is to be trusted.

        Args:
            start: Kind of the picture; it makes a difference only where :meth:`must_see` says so.
            pts: Its timestamp, -1 where it has none.
            picture: Facts from the picture's RTP packets; ``None`` where they are not known.
        """
        if not start.is_picture:
            return GOOD  # parameters
        if picture is not None and self.is_after_loss(picture):
            self.lost("lost packets")
            self._gaps = picture.gaps
        is_whole = picture is None or not picture.lost_inside
        if self._waits is None:
            if 0 <= pts < self._shown_from:
                return Verdict(self._marks, "missing reference")
            return GOOD
        if start.is_key and is_whole and self._recovers_in < 0:
            if start.recovered_after and not self._is_decoding:
                self._is_decoding = True
                return Verdict(True, self._waits)
            self._shown_from = -1 if start.is_closed else pts
            self._recovers_in = start.recovered_after
        if self._recovers_in >= 0 and is_whole:
            if start.is_key and start.is_closed:
                self._recovers_in = 0
            if self._recovers_in == 0:
                self._waits, self._is_decoding = None, True
                return GOOD
            self._recovers_in -= 1
            return Verdict(True, self._waits)
        asks, self._has_asked = not self._has_asked, True
        passes = self._marks or (self._is_decoding and self._waits == "no key frame yet")
        self._is_decoding |= passes
        return Verdict(passes, self._waits, asks)
