"""From the timestamps of a stream, which count from its own start, to the clock of this machine."""

from __future__ import annotations

import logging
from typing import Final

logger = logging.getLogger(__name__)

_DRIFT: Final = 1e-4
"""Clocks of cameras may be slower than this machine's by so much."""

_JUMP_NS: Final = 50_000_000
"""Timestamps that fall back by more are of a clock that was set; by less, of an estimate that was mended."""


class StreamClock:
    """Takes the smallest delay between timestamp and arrival that was seen for none.

    A frame that came later than its fellows is older by that, while a delay that all share is not seen. A
    clock that is slower than this machine's is followed.

    Timestamps that fall back are a sender's clock that was set. The frame with the first of them keeps the
    old reckoning, by which it was captured before the frame before it: that is what the health of a stream
    calls a clock that jumps. From the next frame on delays are counted anew.

    Args:
        name: Name of the source in the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._offset_ns: int | None = None
        self._last_ns = 0
        self._last_time_ns = 0

    def capture_ns(self, time_ns: int, now_ns: int) -> int:
        """Return when a frame was captured, on the clock of :mod:`danet_runtime.clock`.

        Args:
            time_ns: Its timestamp on the stream's clock.
            now_ns: When it arrived.
        """
        offset = now_ns - time_ns
        fell_back_ns = self._last_time_ns - time_ns
        known = self._offset_ns
        if known is None:
            reckoned = self._offset_ns = offset
        elif fell_back_ns > _JUMP_NS:
            logger.warning(
                "%s: the sender's clock fell back by %.2f s; ages are counted anew",
                self._name,
                fell_back_ns / 1e9,
            )
            reckoned, self._offset_ns = known, offset
        else:
            drifted = known + int(_DRIFT * max(0, now_ns - self._last_ns))
            reckoned = self._offset_ns = min(drifted, offset)
        self._last_ns, self._last_time_ns = now_ns, time_ns
        return time_ns + reckoned
