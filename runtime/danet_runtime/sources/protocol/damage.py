"""Frames that are known or likely to be corrupt: why, and how many."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final, Literal, get_args

from danet_runtime.clock import now_ns

DamageReason = Literal["no key frame yet", "lost packets", "missing reference", "decoder", "cut off"]
"""Why a frame is not to be trusted.

- ``no key frame yet``: the stream was joined between two key frames, and this one builds on what was missed.
- ``lost packets``: sequence numbers are missing in it, or in what it builds on.
- ``missing reference``: it builds on a frame that the decoder does not have, for another reason.
- ``decoder``: the decoder met an error in it, or calls it corrupt.
- ``cut off``: its data end too early.
"""

DAMAGE_REASONS: Final[tuple[DamageReason, ...]] = get_args(DamageReason)
"""All of them, in a fixed order."""

DamagePolicy = Literal["drop", "mark", "stop"]
"""``drop``: such frames are counted and never delivered; ``mark``: delivered, with the reason; ``stop``: the
first one ends a video file with an error (no camera: its stream goes on with the next key frame)."""


class DamageCount:
    """Counts damaged frames by reason; one thread adds, any may look."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[DamageReason, int] = {}
        self._last_ns = 0

    def add(self, reason: DamageReason, frames: int = 1) -> None:
        """Note frames that came damaged at this moment."""
        with self._lock:
            self._counts[reason] = self._counts.get(reason, 0) + frames
            self._last_ns = now_ns()

    @property
    def counts(self) -> Mapping[DamageReason, int]:
        """Frames by reason, as a copy."""
        with self._lock:
            return dict(self._counts)

    @property
    def total(self) -> int:
        """Frames of all reasons."""
        with self._lock:
            return sum(self._counts.values())

    @property
    def last_ns(self) -> int:
        """When the last one came, on the clock of :mod:`danet_runtime.clock`; 0: none did."""
        return self._last_ns
