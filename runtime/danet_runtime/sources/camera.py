"""Frames of a camera that the operating system knows (V4L2 on Linux)."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from danet_runtime.backends.base import UInt8Array
from danet_runtime.errors import SourceError
from danet_runtime.sources.base import FrameInfo
from danet_runtime.sources.capture import InPlaceCapture

_DEVICES = Path("/dev")


class CameraSource:
    """A live camera; see :class:`danet_runtime.sources.base.Source`.

    Its capture time is the arrival of the frame in this process, not the exposure. A frame that does not come
    is an error: no frame is made up or repeated.

    Args:
        index: Number of the device, ``/dev/videoN`` on Linux.

    Raises:
        SourceError: There is no such camera, it is busy, or it gives no frame.
        MissingDependencyError: OpenCV is not installed.
    """

    live = True
    count: int | None = None

    def __init__(self, index: int) -> None:
        self._index = index
        api = "CAP_V4L2" if sys.platform == "linux" else "CAP_ANY"
        try:
            self._capture = InPlaceCapture(index, api, f"camera {index}")
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
        self._read = 0

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        """Wait for the next frame and write it in place.

        Raises:
            SourceError: No frame came, the size changed, or the source is closed.
        """
        if self._capture.read_into(buffer) is None:
            raise SourceError(
                f"camera {self._index} gave no frame after {self._read}; it may have been unplugged"
            )
        info = FrameInfo(self._read, time.monotonic_ns())
        self._read += 1
        return info

    def describe(self) -> dict[str, Any]:
        """Index, size and rate."""
        return {
            "kind": "camera",
            "index": self._index,
            "size_hw": list(self.size_hw),
            "fps": self.fps,
            "live": self.live,
            "decoder": self._capture.backend,
        }

    def close(self) -> None:
        """Release the camera; harmless when called twice."""
        self._capture.close()
