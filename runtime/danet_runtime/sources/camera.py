"""Frames of a camera that the operating system knows (V4L2 on Linux)."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import Any

from danet_runtime.backends.base import UInt8Array
from danet_runtime.errors import SourceError
from danet_runtime.pixel_formats import BGR, Pixels
from danet_runtime.sources.base import FrameInfo
from danet_runtime.sources.capture import InPlaceCapture

_DEVICES = Path("/dev")
_OLDEST_NS = 2_000_000_000  # a timestamp further back is of another clock


class CameraSource:
    """A live camera; see :class:`danet_runtime.sources.base.Source`.

    Its capture time is the driver's timestamp of the frame where that is on this machine's monotonic clock
    (V4L2), else the arrival in this process. A frame that does not come is an error: no frame is made up or
    repeated.

    Args:
        index: Number of the device, ``/dev/videoN`` on Linux.
        pixels: The format that is wanted; a camera that has it (``NV12``; ``UYVY`` or ``YUYV``) delivers it
            without a conversion, any other BGR. :attr:`pixels` is what comes.

    Raises:
        SourceError: There is no such camera, it is busy, or it gives no frame.
        MissingDependencyError: OpenCV is not installed.
    """

    live = True
    count: int | None = None

    def __init__(self, index: int, pixels: Pixels = BGR) -> None:
        self._index = index
        self._wanted = pixels
        self._open()

    def _open(self) -> None:
        index = self._index
        self._read = 0
        api = "CAP_V4L2" if sys.platform == "linux" else "CAP_ANY"
        try:
            self._capture = InPlaceCapture(index, api, f"camera {index}", self._wanted)
        except SourceError as error:
            devices = sorted(device.name for device in _DEVICES.glob("video*"))
            there = ", ".join(devices) if devices else "none"
            raise SourceError(
                f"camera {index} gives no frames; video devices on this machine: {there}; "
                "check the index, the cable, that no other program holds it, "
                "and that this user may read it (group video)"
            ) from error
        self.size_hw = self._capture.size_hw
        self.fps = self._capture.fps
        self.pixels = self._capture.pixels

    def reopen(self) -> None:
        """Open the device again; see :class:`danet_runtime.sources.base.Source`."""
        self._capture.close()
        self._open()

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        """Wait for the next frame and write it in place.

        Raises:
            SourceError: No frame came, the size changed, or the source is closed.
        """
        position_ms = self._capture.read_into(buffer)
        if position_ms is None:
            raise SourceError(
                f"camera {self._index} gave no frame after {self._read}; it may have been unplugged"
            )
        now_ns = time.monotonic_ns()
        sensor_ns = int(position_ms * 1e6) if math.isfinite(position_ms) else 0
        is_on_our_clock = 0 <= now_ns - sensor_ns < _OLDEST_NS
        info = FrameInfo(
            self._read,
            sensor_ns if is_on_our_clock else now_ns,
            clock="sensor" if is_on_our_clock else "arrival",
        )
        self._read += 1
        return info

    def describe(self) -> dict[str, Any]:
        """Index, size, rate and pixel format."""
        return {
            "kind": "camera",
            "index": self._index,
            "size_hw": list(self.size_hw),
            "fps": self.fps,
            "live": self.live,
            "pixels": str(self.pixels),
            "decoder": self._capture.backend,
        }

    def close(self) -> None:
        """Release the camera; harmless when called twice."""
        self._capture.close()
