"""OpenCV's ``VideoCapture``, made to decode into buffers that its user owns."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np

from danet_runtime.dependencies import opencv
from danet_runtime.errors import SourceError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.sources.protocol.source import check_size, plausible_fps

logger = logging.getLogger(__name__)

_CODES = {"nv12": ("NV12",), "uyvy": ("UYVY", "YUYV", "YUY2")}
"""Names that cameras give the formats; the last two are the first with each two bytes swapped."""

_MARK_BYTES = 8


class InPlaceCapture:
    """One open capture, with its first frame decoded already.

    Decoding one frame before anything else proves that the source can be read, before a user of it creates
    any output, and gives the true size, which for a rotated video is not the container's.

    Args:
        target: Target that ``cv2.VideoCapture`` opens: a path or the index of a camera.
        api: One of the names ``CAP_ANY``, ``CAP_V4L2``, ... in ``cv2``.
        name: Name of the target in errors.
        pixels: The format that is wanted of a camera; where it has none like it, it is opened for BGR.

    Raises:
        SourceError: It cannot be opened, or gives no frame.
        MissingDependencyError: OpenCV is not installed.

    Attributes:
        size_hw: Height and width of its frames.
        fps: Frames a second, or ``None``.
        count: Frames that the container announces, or ``None``.
        backend: OpenCV's name for what decodes.
        pixels: Format of the frames.
    """

    _capture: Any

    def __init__(self, target: str | int, api: str, name: str, pixels: Pixels = BGR) -> None:
        cv2 = opencv(f"reading {name}")
        self._cv2 = cv2
        self._mark: UInt8Array | None = None
        self._name = name
        self.pixels = pixels
        self._swapped: UInt8Array | None = None
        first = self._open_raw(target, api) if pixels.format != "bgr" else None
        if first is None:
            self.pixels = BGR
            first = self._open_bgr(target, api)
        self._first: UInt8Array | None = first
        self._first_media_time_ms = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        rows = first.shape[0] * 2 // 3 if self.pixels.format == "nv12" else first.shape[0]
        self.size_hw: tuple[int, int] = (rows, first.shape[1])
        self.fps = plausible_fps(float(self._capture.get(cv2.CAP_PROP_FPS)))
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.count: int | None = int(count) if math.isfinite(count) and count > 0 else None
        self.backend = str(self._capture.getBackendName())

    def _open_raw(self, target: str | int, api: str) -> UInt8Array | None:
        """Ask for the bytes as the camera has them; the first frame, or nothing where it has others."""
        cv2, wanted = self._cv2, self.pixels.format
        self._capture = cv2.VideoCapture(target, getattr(cv2, api))
        self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*_CODES[wanted][0]))
        self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        ok, first = self._capture.read()
        code = self._capture.get(cv2.CAP_PROP_FOURCC)
        name = int(code).to_bytes(4, "little").decode("latin-1") if math.isfinite(code) and code > 0 else ""
        has_layout = (
            ok
            and first is not None
            and first.dtype == np.uint8
            and (first.ndim == 2 if wanted == "nv12" else first.shape[2:] == (2,))
        )
        if has_layout and name in _CODES[wanted]:
            if name.startswith("YUY"):
                self._swapped = np.empty(first.shape, np.uint8)
                first = np.ascontiguousarray(first[..., ::-1])
            return np.asarray(first)
        self._capture.release()
        logger.warning(
            "%s has no %s, only %r: its frames come as BGR", self._name, self.pixels, name or "what it likes"
        )
        return None

    def _open_bgr(self, target: str | int, api: str) -> UInt8Array:
        cv2, name = self._cv2, self._name
        self._capture = cv2.VideoCapture(target, getattr(cv2, api))
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(
                f"{name} cannot be opened as a video by OpenCV {cv2.__version__}; the file may be "
                "damaged, cut off or no video (an MP4 whose recording was not closed has no index)"
            )
        try:
            height, width = cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH
            check_size(name, self._capture.get(height), self._capture.get(width))
            ok, first = self._capture.read()
            if not ok or first is None or first.ndim != 3 or first.dtype != np.uint8:
                raise SourceError(f"{name} opens but gives no frame; expected at least one BGR frame")
        except (SourceError, cv2.error) as error:
            self._capture.release()
            if isinstance(error, SourceError):
                raise
            raise SourceError(f"{name} opens but cannot be decoded by OpenCV: {error.err}") from error
        return np.asarray(first)

    def read_into(self, buffer: UInt8Array) -> float | None:
        """Decode the next frame into ``buffer``.

        Args:
            buffer: uint8 in the layout of ``pixels``, C-contiguous, overwritten.

        Returns:
            The frame's position in the file in milliseconds (0 for a camera), or ``None`` when no frame came.

        Raises:
            SourceError: The size changed on the way, the capture is closed, or OpenCV says that it gave a
                frame and wrote none.
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
        target = buffer if self._swapped is None else self._swapped
        places = self._marked(target)
        ok, frame = self._capture.retrieve(target)
        if not ok:
            return None
        if frame is not target:  # OpenCV allocates another array when shape or dtype do not fit
            raise SourceError(
                f"{self._name} changed from {self.size_hw} to {frame.shape[:2]} (height, width) on the way; "
                "a source must keep one size"
            )
        if (places == self._mark).all(1).any():
            raise SourceError(
                f"OpenCV {self._cv2.__version__} says that it read a frame of {self._name}, but left rows of "
                "it unwritten, as it does with interlaced video; install PyAV to read files "
                '(pip install "danet-runtime[recording]"), or let the camera send another format'
            )
        if self._swapped is not None:
            np.copyto(buffer, self._swapped[..., ::-1])
        return media_time_ms

    def _marked(self, target: UInt8Array) -> UInt8Array:
        """Put random bytes into every row; where any are found again, the row was not written.

        A picture has them by chance once in 2^64 rows. Costs at most 0.3 ms of a frame with 1080 rows.
        """
        rows = target.reshape(target.shape[0], -1)
        if self._mark is None:
            self._mark = np.random.default_rng().integers(
                0, 256, (rows.shape[0], min(_MARK_BYTES, rows.shape[1])), np.uint8
            )
        width = self._mark.shape[1]
        middle = (rows.shape[1] - width) // 2
        places = rows[:, middle : middle + width]
        np.copyto(places, self._mark)
        return places

    def close(self) -> None:
        """Release the capture; harmless when called twice."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
            self._first = None
