"""The pauses of a sink that has failed, before it tries again."""

from __future__ import annotations

import time
from typing import Final

FIRST_PAUSE_S: Final = 0.5
MOST_PAUSE_S: Final = 15.0


class Pause:
    """Half a second after the first failure, doubled with each further one, up to 15 seconds.

    Attributes:
        length_s: Length of the last pause that was begun, in seconds; 0 after :meth:`forget`.
    """

    def __init__(self) -> None:
        self.length_s = 0.0
        self._until_s = 0.0

    @property
    def left_s(self) -> float:
        """Seconds until it is over; below 0, since when it has been."""
        return self._until_s - time.monotonic()

    def begin(self) -> None:
        """After a failure."""
        self.length_s = min(max(FIRST_PAUSE_S, 2 * self.length_s), MOST_PAUSE_S)
        self._until_s = time.monotonic() + self.length_s

    def go_on(self) -> None:
        """Half a second more, where nothing was tried and so nothing has failed."""
        self._until_s = time.monotonic() + FIRST_PAUSE_S

    def forget(self) -> None:
        """Note a success: the next failure counts as the first."""
        self.length_s = 0.0
