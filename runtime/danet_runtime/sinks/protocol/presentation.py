"""Times of results in a recording: by the clock of their file, or by the time they were captured."""

from __future__ import annotations

from typing import Final

from danet_runtime.results.result import Result

DEFAULT_FPS: Final = 10.0
"""Rate of what is shown of a source that has none, such as a folder of pictures."""

_JITTER_NS: Final = 1_000_000_000


def is_live(result: Result) -> bool:
    """Whether a result is of a camera: one of a file has a position in it, one of a picture a name."""
    return result.media_time_ms is None and result.name is None


class PresentationClock:
    """Seconds from the first result on, for each result of one camera; they never go back.

    In a file, a result's place among its frames counts: what was dropped leaves a gap, and how fast it was
    read does not matter; where its rate varies, its position in the file. For a camera, its capture time
    counts. Where that jumps back by more than a second, because the camera came back with another clock, the
    result follows the one before at the rate.

    Args:
        fps: Frames a second of a file; of a camera only for such jumps.
        is_variable: Whether that rate does not tell when a file's frames are shown.
    """

    def __init__(self, fps: float, *, is_variable: bool = False) -> None:
        self._fps = fps
        self._is_variable = is_variable
        self._origin_ms: float | None = None
        self._first_id: int | None = None
        self._origin_ns = 0
        self._shown_ns = 0

    def seconds(self, result: Result) -> float:
        """Return when this result is shown; call it once for each, in order."""
        if self._first_id is None:
            self._first_id, self._origin_ns = result.frame_id, result.capture_time_ns
        if self._is_variable and result.media_time_ms is not None:
            if self._origin_ms is None:
                self._origin_ms = result.media_time_ms
            self._shown_ns = max(self._shown_ns, round((result.media_time_ms - self._origin_ms) * 1e6))
            return self._shown_ns / 1e9
        if not is_live(result):
            return (result.frame_id - self._first_id) / self._fps
        since_ns = result.capture_time_ns - self._origin_ns
        if since_ns < self._shown_ns - _JITTER_NS:
            since_ns = self._shown_ns + int(1e9 / self._fps)
            self._origin_ns = result.capture_time_ns - since_ns
        self._shown_ns = max(self._shown_ns, since_ns)
        return self._shown_ns / 1e9
