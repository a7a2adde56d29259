"""Stepping down to a faster model when deadlines are missed, and up again when there is room."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class FallbackRules:
    """Rules for stepping between models.

    Attributes:
        window: Frames that a decision looks back on.
        down_share: Step down when at least this share of them was late.
        up_share: Step up when at most this share of them was late ...
        up_headroom: ... and the slowest of them took at most this share of the deadline.
        rest: Frames after a step before the next; doubled each time a step up had to be taken back at once,
            up to 64 times, so that the fallback does not swing.
    """

    window: int = 30
    down_share: float = 0.5
    up_share: float = 0.0
    up_headroom: float = 0.5
    rest: int = 60


class DeadlineFallback:
    """Decides which of several models, given from the best to the fastest, runs next.

    Args:
        levels: Number of models.
        deadline_ms: Age at which a result is late.
        rules: Rules for stepping between models.

    Attributes:
        level: The model to run, 0 for the best.
    """

    def __init__(self, levels: int, deadline_ms: float, rules: FallbackRules | None = None) -> None:
        if levels < 1 or deadline_ms <= 0:
            raise ValueError(f"a fallback needs levels and a deadline (got {levels}, {deadline_ms})")
        self.level = 0
        self._levels = levels
        self._deadline_ms = deadline_ms
        self._rules = rules or FallbackRules()
        self._ages: deque[float] = deque(maxlen=self._rules.window)
        self._since_step = 0
        self._patience = 1
        self._last_was_up = False

    def observe(self, age_ms: float) -> int | None:
        """Note the age of one result at delivery.

        Returns:
            The new level, where it changes.
        """
        rules = self._rules
        self._ages.append(age_ms)
        self._since_step += 1
        if len(self._ages) < rules.window:
            return None
        late = sum(age > self._deadline_ms for age in self._ages) / rules.window
        if late >= rules.down_share and self.level < self._levels - 1:
            relapsed = self._last_was_up and self._since_step < rules.rest * self._patience
            self._patience = min(self._patience * 2, 64) if relapsed else self._patience
            return self._step(1)
        rested = self._since_step >= rules.rest * self._patience
        has_room = late <= rules.up_share and max(self._ages) <= rules.up_headroom * self._deadline_ms
        if self.level > 0 and rested and has_room:
            return self._step(-1)
        if rested and self._last_was_up:
            self._patience = 1  # it held
        return None

    def _step(self, by: int) -> int:
        self.level += by
        self._ages.clear()
        self._since_step = 0
        self._last_was_up = by < 0
        return self.level
