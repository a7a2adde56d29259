"""When the frames of a video file are shown: what its packets tell of all, and the time of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple

from danet_runtime.timing import exact_rate

_DISORDER: Final = 10
"""Frames' lengths: times that fall back by more begin anew, as where two recordings were joined."""

LEAP_S: Final = 10.0
"""Longest pause in which no frame of a transport or program stream comes; beyond it they were joined."""

_UNTOLD_FPS: Final = 25.0


class Seen(NamedTuple):
    """One packet as it passes by.

    Attributes:
        time: Time in ticks of the stream; ``None`` where it has none.
        is_hidden: Whether it is not shown, by an edit list for example.
    """

    time: int | None
    is_hidden: bool


@dataclass(frozen=True)
class Scan:
    """The result of one look at all packets.

    Attributes:
        frames: How many packets will be shown; a few codecs need two for a frame.
        fps: Frames a second: what the container tells where that is a rate, else on average over their times.
        is_variable: Whether a frame stands further than half a frame from its place at that rate, or no rate
            is told.
        places: How many places for frames there are, with or without one, where the container has places
            (AVI); else the frames.
    """

    frames: int
    fps: float | None
    is_variable: bool
    places: int

    @property
    def unfilled(self) -> int:
        """How many places hold no frame: the frames before them are shown longer."""
        return self.places - self.frames

    @classmethod
    def of(
        cls, packets: Iterable[Seen], tick: Fraction, stated_fps: float | None, *, has_places: bool
    ) -> Scan:
        """Look at every packet of a file.

        Args:
            packets: Packets of the file, in any order.
            tick: Length of one tick in seconds.
            stated_fps: Frames a second that the container states, if any.
            has_places: Whether ticks as long as a frame at the told rate are places for one each.
        """
        shown = [packet.time for packet in packets if not packet.is_hidden]
        times = sorted(time for time in shown if time is not None)
        ticks = times[-1] - times[0] if times else 0
        if stated_fps is None or not times:
            average = float((len(times) - 1) / (ticks * tick)) if ticks else stated_fps
            return cls(len(shown), average, is_variable=ticks > 0, places=len(shown))
        period = 1 / (exact_rate(stated_fps) * tick)
        worst = max(abs(time - times[0] - place * period) for place, time in enumerate(times))
        places = max(ticks + 1, len(shown)) if has_places and period == 1 else len(shown)
        return cls(len(shown), stated_fps, is_variable=worst > period / 2 + 1, places=places)


class DisplayTimes:
    """Times of the frames of one file in order of display, from its beginning; they never go back.

    Where the file's own fall back, because two recordings were joined, or leap in a stream of which that
    means the same, they go on at the rate.

    Args:
        start_s: The time at which the file begins; that of its first frame where none is told.
        fps: Frames a second, where a rate is told.
        may_leap: Whether the file is a transport or program stream, whose clock may be set anew.
    """

    def __init__(self, start_s: float | None, fps: float | None, *, may_leap: bool) -> None:
        self._start_s = start_s
        self._period_s = 1 / (fps or _UNTOLD_FPS)
        self._may_leap = may_leap
        self._shift_s = 0.0
        self._last: tuple[int, float] | None = None

    def of(self, place: int, time_s: float | None) -> float:
        """The time of a frame, in seconds; called once for each that is shown, in order.

        Args:
            place: Number of the frame in the file.
            time_s: Time of the frame in seconds on the file's own clock; ``None`` where it has none.
        """
        if time_s is None:
            shown_s = place * self._period_s
        else:
            if self._start_s is None:
                self._start_s = time_s - place * self._period_s
            shown_s = time_s - self._start_s + self._shift_s
        if self._last is not None:
            before, before_s = self._last
            step_s = shown_s - before_s
            if step_s < -_DISORDER * self._period_s or (self._may_leap and step_s > LEAP_S):
                at_the_rate_s = before_s + (place - before) * self._period_s
                self._shift_s += at_the_rate_s - shown_s
                shown_s = at_the_rate_s
            shown_s = max(shown_s, before_s)
        self._last = (place, shown_s)
        return shown_s
