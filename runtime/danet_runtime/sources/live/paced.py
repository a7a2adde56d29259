"""A file played at its own rate, as if it were a camera."""

from __future__ import annotations

import time
from typing import Any, Final

from danet_runtime.clock import now_ns
from danet_runtime.errors import UsageError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.pixel_formats import pixels_of
from danet_runtime.sources.protocol.abilities import aspect_of, damage_of, is_variable
from danet_runtime.sources.protocol.damage import DamageCount
from danet_runtime.sources.protocol.source import FrameInfo, Source

_LATE_NS: Final = 1_000_000_000
"""Frames that are late by less follow each other faster until they are in time again."""


class PacedSource:
    """Delivers the frames of a source when they are due.

    See :class:`danet_runtime.sources.protocol.source.Source`.

    It counts as live: by default a stream keeps its latest frame and drops what it has no time for.

    Args:
        source: A source with a rate; owned from now on.

    Raises:
        UsageError: It has no rate.
    """

    live = True

    def __init__(self, source: Source) -> None:
        if source.fps is None:
            raise UsageError("pictures have no rate, nor has a test pattern with fps=0; leave --realtime out")
        self._source = source
        self._period_ns = int(1e9 / source.fps)
        self._start_ns = 0
        self._first_ms: float | None = None
        self.size_hw = source.size_hw
        self.fps: float | None = source.fps
        self.count = source.count
        self.pixels = pixels_of(source)
        self.sample_aspect_ratio = aspect_of(source)
        self.is_variable = is_variable(source)
        self.damage: DamageCount = damage_of(source) or DamageCount()

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        """Decode the next frame and wait until it is due; its capture time is that moment.

        Raises:
            SourceError: The source that is played cannot be read.
        """
        info = self._source.read_into(buffer)
        if info is None:
            return None
        now = now_ns()
        self._start_ns = self._start_ns or now
        due_ns = self._start_ns + self._offset_ns(info)
        if now - due_ns > _LATE_NS:  # the process stood still, or nobody read: what was missed is not made up
            self._start_ns, due_ns = self._start_ns + now - due_ns, now
        time.sleep(max(0, due_ns - now) / 1e9)
        return FrameInfo(info.id, now_ns(), info.media_time_ms, info.name, damage=info.damage)

    def _offset_ns(self, info: FrameInfo) -> int:
        """Return how long after the first a frame is due: by its own time, where the file has times."""
        if info.media_time_ms is None:
            return info.id * self._period_ns
        if self._first_ms is None:
            self._first_ms = info.media_time_ms
        return int((info.media_time_ms - self._first_ms) * 1e6)

    def describe(self) -> dict[str, Any]:
        """The source's own description, played at its rate."""
        return {**self._source.describe(), "live": True, "realtime": True}

    def close(self) -> None:
        """Close the source; harmless when called twice."""
        self._source.close()
