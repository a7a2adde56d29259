"""OpenCV's ``VideoCapture``, made to decode into buffers that its user owns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from danet_runtime.backends.base import UInt8Array
from danet_runtime.dependencies import opencv
from danet_runtime.errors import SourceError

_FPS_LIMIT = 1000.0  # containers without a rate announce 0, 1000 or more


class InPlaceCapture:
    """One open capture, with its first frame decoded already.

    Decoding one frame before anything else proves that the source can be read, before a user of it creates
    any output, and gives the true size, which for a rotated video is not the container's.

    Args:
        target: What ``cv2.VideoCapture`` opens: a path or the index of a camera.
        api: One of the names ``CAP_ANY``, ``CAP_V4L2``, ... in ``cv2``.
        name: What to call it in an error.

    Raises:
        SourceError: It cannot be opened, or gives no frame.
        MissingDependencyError: OpenCV is not installed.

    Attributes:
        size_hw: Height and width of its frames.
        fps: Frames a second, or ``None``.
        count: Frames that the container announces, or ``None``.
        backend: OpenCV's name for what decodes.
    """

    def __init__(self, target: str | int, api: str, name: str) -> None:
        cv2 = opencv(f"reading {name}")
        self._cv2 = cv2
        self._name = name
        self._capture: Any = cv2.VideoCapture(target, getattr(cv2, api))
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(
                f"{name} cannot be opened as a video by OpenCV {cv2.__version__}; the file may be "
                "damaged, cut off or no video (an MP4 whose recording was not closed has no index)"
            )
        ok, first = self._capture.read()
        if not ok or first is None or first.ndim != 3 or first.dtype != np.uint8:
            self._capture.release()
            raise SourceError(f"{name} opens but gives no frame; expected at least one BGR frame")
        self._first: UInt8Array | None = first
        self._first_media_time_ms = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        self.size_hw: tuple[int, int] = first.shape[:2]
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps: float | None = fps if math.isfinite(fps) and 0 < fps < _FPS_LIMIT else None
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.count: int | None = int(count) if math.isfinite(count) and count > 0 else None
        self.backend = str(self._capture.getBackendName())

    def read_into(self, buffer: UInt8Array) -> float | None:
        """Decode the next frame into ``buffer``.

        Args:
            buffer: (H, W, 3) uint8, C-contiguous, overwritten.

        Returns:
            The frame's position in the file in milliseconds (0 for a camera), or ``None`` when no frame came.

        Raises:
            SourceError: The size changed on the way, or the capture is closed.
        """
        if self._capture is None:
            raise SourceError(f"{self._name} is closed; open it again")
        if self._first is not None:
            np.copyto(buffer, self._first)
            self._first = None
            return self._first_media_time_ms
        if not self._capture.grab():
            return None
        media_time_ms = float(self._capture.get(self._cv2.CAP_PROP_POS_MSEC))
        ok, frame = self._capture.retrieve(buffer)
        if not ok:
            return None
        if frame is not buffer:  # OpenCV allocates another array when shape or dtype do not fit
            raise SourceError(
                f"{self._name} changed from {self.size_hw} to {frame.shape[:2]} (height, width) on the way; "
                "a source must keep one size"
            )
        return media_time_ms

    def close(self) -> None:
        """Release the capture; harmless when called twice."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
            self._first = None
