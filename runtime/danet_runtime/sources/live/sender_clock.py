"""Capture times by the sender's wall clock, as RTCP sender reports tell it, where it is in step with ours."""

from __future__ import annotations

import logging
import time
from typing import Final

from danet_runtime.clock import now_ns as boot_ns
from danet_runtime.sources.live.stream_clock import StreamClock
from danet_runtime.sources.protocol.source import CaptureClock

logger = logging.getLogger(__name__)

_AHEAD_NS: Final = 10_000_000
"""A clock that is ahead by more shows frames that come before they were captured."""

_BEHIND_NS: Final = 2_000_000_000
"""No camera takes longer from capture to sending, without a clock that is behind."""


_AT_ONCE_NS: Final = 100_000
_TRIES: Final = 5

_AWAITED_NS: Final = 15_000_000_000
"""Reports come every 5 s (RFC 3550, 6.2)."""


class SenderClock:
    """Ages by the sender's wall clock, and never smaller than by the stream's timestamps.

    What all frames have in common of their delay only a clock on both sides can tell. Whether the sender's is
    in step shows in that: it must not be below zero, nor absurd. A clock that is behind by less cannot be
    told from a slow camera; ages are then too large, not too small. One that is ahead by less than the delay
    is taken for in step, with ages too small by that, but not smaller than by the timestamps.

    Args:
        name: Name of the source in the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._stream = StreamClock(name)
        self._first_ns = 0
        self._reported: str | None = None

    def capture_ns(
        self, time_ns: int, sender_unix_ns: int | None, arrival_ns: int
    ) -> tuple[int, CaptureClock]:
        """Return when a frame was captured, on the clock of :mod:`danet_runtime.clock`, and by whose clock.

        Args:
            time_ns: Its timestamp on the stream's clock.
            sender_unix_ns: When it was captured by the sender's wall clock, where that is known.
            arrival_ns: When it arrived.
        """
        by_stream_ns = self._stream.capture_ns(time_ns, arrival_ns)
        self._first_ns = self._first_ns or arrival_ns
        if sender_unix_ns is None:
            if self._reported is None and arrival_ns - self._first_ns > _AWAITED_NS:
                self._say(
                    "none", "the sender reports no clock: ages leave out the delay that all frames share"
                )
            return by_stream_ns, "stream"
        by_sender_ns = sender_unix_ns - wall_clock_ahead_ns()
        common_ns = by_stream_ns - by_sender_ns
        if -_AHEAD_NS <= common_ns <= _BEHIND_NS:
            self._say("sensor", "ages are by the sender's clock, as its sender reports tell it")
            return min(by_stream_ns, by_sender_ns), "sensor"
        where = "ahead of" if common_ns < 0 else "behind"
        self._say(
            where,
            f"the sender's clock is {abs(common_ns) / 1e9:.1f} s {where} this machine's: ages leave out the "
            "delay that all frames share; set both clocks by one time server",
        )
        return by_stream_ns, "stream"

    def _say(self, what: str, words: str) -> None:
        if self._reported != what:
            self._reported = what
            logger.log(
                logging.INFO if what in ("sensor", "none") else logging.WARNING, "%s: %s", self._name, words
            )


def wall_clock_ahead_ns() -> int:
    """How much the wall clock is ahead of :mod:`danet_runtime.clock` at this moment.

    Both are read at once: a thread that is held up between the two would take that for a difference.
    """
    best_ns, ahead_ns = 0, 0
    for attempt in range(_TRIES):
        before_ns, wall_ns, after_ns = boot_ns(), time.time_ns(), boot_ns()
        if attempt == 0 or after_ns - before_ns < best_ns:
            best_ns, ahead_ns = after_ns - before_ns, wall_ns - (before_ns + after_ns) // 2
        if best_ns < _AT_ONCE_NS:
            break
    return ahead_ns
