"""The head-up line of an overlay: frames a second, age, health and model."""

from __future__ import annotations

from collections import deque
from types import ModuleType
from typing import TYPE_CHECKING, Final

from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.results.health import HealthState
from danet_runtime.results.lettering import WHITE, Lettering

if TYPE_CHECKING:
    from danet_runtime.results.result import Result

STATE_COLORS: Final[dict[HealthState, tuple[int, int, int]]] = {
    "starting": (160, 160, 160),
    "ready": (80, 175, 76),
    "degraded": (0, 165, 255),
    "stale": (0, 110, 230),
    "fault": (54, 54, 220),
}
"""The color of each state, BGR."""

_FRAMES: Final = 30  # over so many results the rate is told
_JUMP_NS: Final = 5_000_000_000


class HeadUp:
    """Writes the head-up line into pictures of one size.

    Args:
        cv2: OpenCV's module.
        size_hw: Height and width of the pictures.
    """

    def __init__(self, cv2: ModuleType, size_hw: tuple[int, int]) -> None:
        self._size_hw = size_hw
        self._lettering = Lettering(cv2, size_hw)
        self._captured_ns: deque[int] = deque(maxlen=_FRAMES)

    @property
    def height_px(self) -> int:
        """Height of the strip in which it stands."""
        return self._lettering.line_px + 2 * (self._lettering.line_px // 3)

    def words(self, result: Result) -> str:
        """The line for the next result, without its health; call it once for each."""
        times = self._captured_ns
        if times and not 0 <= result.capture_time_ns - times[-1] < _JUMP_NS:
            times.clear()  # another clock, or a camera that was away
        times.append(result.capture_time_ns)
        rate = (
            f"{1e9 * (len(times) - 1) / (times[-1] - times[0]):.1f} fps" if times[-1] > times[0] else "- fps"
        )
        return "   ".join(word for word in (rate, f"{result.age_ms:.0f} ms", result.labelling.model) if word)

    def draw_into(self, result: Result, picture: UInt8Array) -> None:
        """Write the line of the next result into the lower left corner of its picture."""
        words, line = self.words(result), self._lettering.line_px
        state = "damaged" if result.damage else result.health
        pad = line // 3
        room = self._size_hw[1] - 3 * pad - line
        words = self._lettering.fitted(words, room - self._lettering.width(state))
        width = 3 * pad + line + self._lettering.width(words) + self._lettering.width(state)
        top = self._size_hw[0] - self.height_px
        if top < 0 or not words:
            return
        self._lettering.darken(picture[top:, : min(width, self._size_hw[1])])
        self._lettering.write(picture, state, pad, top + pad, STATE_COLORS[result.health])
        left = 2 * pad + line // 2 + self._lettering.width(state)
        self._lettering.write(picture, words, left, top + pad, WHITE)
