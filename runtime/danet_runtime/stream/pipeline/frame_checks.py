"""Frames that arrive and show nothing: frozen cameras, black pictures, clocks that jump.

A camera whose sensor has hung often goes on delivering: the same picture again and again, or black. Both look
alive to everything that only counts frames.
"""

from __future__ import annotations

import time
import zlib

import numpy as np

from danet_runtime.clock import now_ns
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.processes.running import RUNNING
from danet_runtime.results.health import Health
from danet_runtime.sources.protocol.source import CaptureClock

_GRID_STRIDE = 8
"""Every eighth pixel in both directions is looked at: a real sensor's noise differs there, too."""

BLACK_BELOW = 3.0
"""Mean level over that of black, 0..255, below which a frame is black."""

_JUMP_NS = 1_000_000_000
"""The wall clock is trusted to run within a second of :mod:`danet_runtime.clock`."""


class FrameCheck:
    """Watches the frames of one camera; allocates nothing after the first frame.

    Args:
        name: Name of the camera.
        health: Health of the stream, which the checks update.
        frozen_after_s: Time of identical frames after which a camera counts as frozen.
        black_after_s: Time of black frames after which a camera counts as covered or dead.
        black_level: The level of black: 16 for luma of limited range.
        jump_shown_s: How long a jump of the camera's clock is shown.
    """

    def __init__(
        self,
        name: str,
        health: Health,
        frozen_after_s: float,
        black_after_s: float,
        black_level: int = 0,
        jump_shown_s: float = 10.0,
    ) -> None:
        self._name = name
        self._health = health
        self._frozen_ns = int(frozen_after_s * 1e9)
        self._black_ns = int(black_after_s * 1e9)
        self._black_below = black_level + BLACK_BELOW
        self._grid: UInt8Array | None = None
        self._checksum = -1
        self._changed_ns = 0
        self._lit_ns = 0
        self._capture_ns = 0
        self._clock: CaptureClock = "arrival"
        self._jumped_ns: int | None = None
        self._jump_shown_ns = int(jump_shown_s * 1e9)

    def restart(self) -> None:
        """Forget what earlier frames showed, as after a time without checks."""
        self._changed_ns = self._lit_ns = now_ns()

    def look(self, frame: UInt8Array, capture_time_ns: int, clock: CaptureClock = "arrival") -> None:
        """Look at one frame.

        Args:
            frame: Pixels in any shape with rows first, for YUV only the luma; only read.
            capture_time_ns: When it was captured, on the clock of :mod:`danet_runtime.clock`.
            clock: The clock that it was read from. Where a sender begins to report its own, times fall back
                by the delay that was not seen before; that is no jump.
        """
        now = now_ns()
        sampled = frame[::_GRID_STRIDE, ::_GRID_STRIDE]
        if self._grid is None or self._grid.shape != sampled.shape:
            self._grid = np.empty(sampled.shape, np.uint8)
            self._changed_ns = self._lit_ns = now
        np.copyto(self._grid, sampled)
        checksum = zlib.crc32(self._grid)  # type: ignore[arg-type]  # a C-contiguous array is a buffer
        if checksum != self._checksum:
            self._checksum, self._changed_ns = checksum, now
        if float(self._grid.mean()) >= self._black_below:
            self._lit_ns = now
        self._say("frozen", now - self._changed_ns > self._frozen_ns, "gives the same frame again and again")
        self._say("black", now - self._lit_ns > self._black_ns, "gives black frames")
        fell_back = capture_time_ns < self._capture_ns and clock == self._clock
        self._clock = clock
        if fell_back or capture_time_ns > now + _JUMP_NS:
            self._jumped_ns = now
        jumped = self._jumped_ns is not None and now - self._jumped_ns < self._jump_shown_ns
        self._say("clock", jumped, "has a clock that jumps: its capture times cannot be trusted")
        self._capture_ns = capture_time_ns

    def _say(self, what: str, holds: bool, reason: str) -> None:
        key = f"{self._name}.{what}"
        if holds:
            self._health.set(key, "degraded", f"{self._name} {reason}")
        else:
            self._health.clear(key)


class WallClockCheck:
    """Notices that the wall clock was set, as by a time server.

    It is held against :mod:`danet_runtime.clock`: a machine that was suspended is not told of as a jump.

    Args:
        health: Health of the stream, which the checks update.
        shown_s: How long the health shows a jump, in seconds.
    """

    def __init__(self, health: Health, shown_s: float = 10.0) -> None:
        self._health = health
        self._shown_ns = int(shown_s * 1e9)
        self._offset_ns = time.time_ns() - now_ns()
        self._jumped_ns: int | None = None

    def look(self) -> None:
        """Compare the clocks; called now and then."""
        now = now_ns()
        offset = time.time_ns() - now
        jump, self._offset_ns = offset - self._offset_ns, offset
        if abs(jump) > _JUMP_NS:
            self._jumped_ns = now
            self._health.set("clock", "degraded", f"the wall clock jumped by {jump / 1e9:+.1f} s")
        elif self._jumped_ns is not None and now - self._jumped_ns > self._shown_ns:
            self._jumped_ns = None
            self._health.clear("clock")


class StandstillCheck:
    """Looks at the running clock, and tells that the process stood still: stopped, suspended or starved.

    What its limits hold meanwhile is not counted (:mod:`danet_runtime.processes.running`), but masks grow
    old.

    Args:
        health: Health of the stream, which the checks update.
        shown_s: How long the health shows it, in seconds.
    """

    def __init__(self, health: Health, shown_s: float = 10.0) -> None:
        self._health = health
        self._shown_ns = int(shown_s * 1e9)
        self._looked_ns: int | None = None
        self._reported_ns: int | None = None

    def look(self) -> None:
        """Check once; called at the interval that :meth:`RunningClock.begin` was given."""
        now = now_ns()
        RUNNING.look()
        # Another thread may have looked before, and another stream's watchdog: each tells its own health.
        resumed_ns, looked_ns = RUNNING.resumed_ns(), self._looked_ns
        self._looked_ns = now
        if looked_ns is not None and resumed_ns > looked_ns:
            self._reported_ns = RUNNING.now_ns()
            seconds = (now - looked_ns) / 1e9
            self._health.set("standstill", "degraded", f"the process stood still for {seconds:.1f} s")
        elif self._reported_ns is not None and RUNNING.now_ns() - self._reported_ns > self._shown_ns:
            self._reported_ns = None
            self._health.clear("standstill")
