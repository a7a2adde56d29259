"""A moving test pattern without end, for machines that have no camera."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from danet_runtime.clock import now_ns
from danet_runtime.errors import UsageError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.color import to_pixel_format
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.pictures.header import MOST_SIDE
from danet_runtime.sources.protocol.source import MOST_FPS, FrameInfo
from danet_runtime.sources.protocol.uri import options_of

_STEP = 4  # columns a frame; even, so that chroma moves with luma


class SyntheticSource:
    """Coloured stripes that move to the left; see :class:`danet_runtime.sources.protocol.source.Source`.

    Args:
        uri: ``synthetic:`` with the options ``size`` (``HxW``, 720x1280), ``fps`` (30; 0: as fast as it is
            read, and then not live) and ``frames`` (without end).
        pixels: The format of its frames.

    Raises:
        UsageError: An option is unknown or has no such value, or the format has no such size.
        MissingDependencyError: The format is not BGR and OpenCV is not installed.
    """

    def __init__(self, uri: str = "synthetic:", pixels: Pixels = BGR) -> None:
        options = options_of(uri, ("size", "fps", "frames"))
        try:
            height, _, width = options.get("size", "720x1280").partition("x")
            self.size_hw = (int(height), int(width))
            rate = float(options.get("fps", "30"))
            self.count: int | None = int(options["frames"]) if "frames" in options else None
        except ValueError:
            raise UsageError(f"{uri!r}: expected e.g. synthetic:?size=720x1280&fps=30&frames=100") from None
        if not (min(self.size_hw) > 0 and max(self.size_hw) <= MOST_SIDE and 0 <= rate <= MOST_FPS):
            raise UsageError(f"{uri!r}: sizes are 1 to {MOST_SIDE}, fps 0 to {MOST_FPS:g}")
        if fault := pixels.fault(self.size_hw):
            raise UsageError(f"{uri!r}: {fault}")
        self.pixels = pixels
        self.live = rate > 0
        self.fps: float | None = rate or None
        self._period_ns = int(1e9 / rate) if rate else 0
        self._next_ns = now_ns()
        self._read = 0
        columns = np.arange(2 * self.size_hw[1])
        rows = np.arange(self.size_hw[0])[:, None]
        pattern = np.empty((self.size_hw[0], len(columns), 3), np.uint8)  # (H, 2W, 3), one period is W
        for channel, stripes in enumerate((3, 5, 7)):
            wave = np.sin(2 * np.pi * stripes * columns / self.size_hw[1])
            pattern[..., channel] = 127 + 100 * wave * np.cos(rows / (20 + 10 * channel))
        self._pattern = to_pixel_format(pattern, pixels)

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        """Wait until the next frame is due, and write it in place."""
        if self._read == self.count:
            return None
        if self.live:
            now = now_ns()
            self._next_ns = max(self._next_ns + self._period_ns, now - self._period_ns)
            time.sleep(max(0, self._next_ns - now) / 1e9)
        offset = _STEP * self._read % self.size_hw[1]
        np.copyto(buffer, self._pattern[:, offset : offset + self.size_hw[1]])
        info = FrameInfo(self._read, now_ns())
        self._read += 1
        return info

    def describe(self) -> dict[str, Any]:
        """Size, rate and pixel format."""
        return {
            "kind": "synthetic",
            "size_hw": list(self.size_hw),
            "fps": self.fps,
            "live": self.live,
            "pixels": str(self.pixels),
        }

    def close(self) -> None:
        """Nothing is held."""
