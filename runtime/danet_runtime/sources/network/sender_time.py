"""The time that a camera writes beside a picture of motion JPEG, where it is one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

_HEADER: Final = "x-timestamp"
_WATCHED_NS: Final = 1_000_000_000
_MOST_RATE: Final = 4.0
_LARGEST_S: Final = 9e9


class SenderTime:
    """Reads ``X-Timestamp: SECONDS.FRACTION``, as mjpg-streamer, ESP32 cameras and others write it.

    Some count from 1970, some from the camera's start, some in another unit, some never move. So only its
    differences are believed, and only once it has gone about as fast as this machine's clock for a second;
    one that stands still or falls back is watched anew.
    """

    def __init__(self) -> None:
        self._first: tuple[int, int] | None = None
        self._last_ns = 0

    def read(self, headers: Mapping[str, str], arrival_ns: int) -> int | None:
        """The picture's time in nanoseconds on the camera's clock, or ``None`` where it is none.

        Args:
            headers: Headers of the part by name, the names in lower case.
            arrival_ns: When it arrived.
        """
        try:
            seconds = float(headers.get(_HEADER, "nan"))
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < _LARGEST_S:
            self._first = None
            return None
        time_ns = int(seconds * 1e9)
        if self._first is None or time_ns <= self._last_ns:
            self._first = (time_ns, arrival_ns)
        self._last_ns = time_ns
        went_ns, here_ns = time_ns - self._first[0], arrival_ns - self._first[1]
        is_watched = here_ns >= _WATCHED_NS
        return (
            time_ns
            if is_watched and here_ns <= _MOST_RATE * went_ns and went_ns <= _MOST_RATE * here_ns
            else None
        )
