"""The overlay as a video file, written beside its place and renamed when it is finished."""

from __future__ import annotations

import logging
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from danet_runtime.backends.base import UInt8Array
from danet_runtime.dependencies import opencv
from danet_runtime.errors import SinkError, UsageError
from danet_runtime.files import replacing
from danet_runtime.overlay import DEFAULT_OPACITY, Overlay
from danet_runtime.result import Result
from danet_runtime.sinks.base import StreamFormat

logger = logging.getLogger(__name__)

DEFAULT_FPS = 10.0
"""Rate of a video whose source has none, such as a folder of pictures."""

_CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}


class _NothingWrittenError(Exception):
    """Makes :func:`danet_runtime.files.replacing` remove the unfinished file."""


class VideoSink:
    """Writes the overlay of every result to a video; see :class:`danet_runtime.sinks.base.Sink`.

    The video has the frames' size and the source's rate. OpenCV encodes even sizes only: an odd one is
    extended by one repeated row or column, and the log says so.

    Args:
        path: Where to; the suffix chooses the container (.mp4, .m4v, .mov, .mkv: MPEG-4; .avi: MJPEG).
        fps: Frames a second; by default the source's, or :data:`DEFAULT_FPS` where it has none.
        opacity: Share of the classes' colours, 0..1.
        legend: Whether to draw the names of the classes.
        overwrite: Whether a file at ``path`` may be replaced.

    Raises:
        UsageError: The suffix is unknown, or ``path`` exists and ``overwrite`` is false.
    """

    name = "video"

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float | None = None,
        opacity: float = DEFAULT_OPACITY,
        legend: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in _CODECS:
            raise UsageError(f"{self.path}: expected a video with one of {', '.join(_CODECS)}")
        if self.path.is_dir() or (self.path.exists() and not overwrite):
            raise UsageError(f"{self.path} exists already; give another path, or --overwrite to replace it")
        self._fps = fps
        self._opacity = opacity
        self._has_legend = legend
        self._stack = ExitStack()
        self._writer: Any = None
        self._written = 0

    def open(self, stream_format: StreamFormat) -> None:
        """Start the video.

        Raises:
            SinkError: OpenCV cannot write it.
            MissingDependencyError: OpenCV is not installed.
        """
        cv2 = opencv("writing a video")
        height, width = stream_format.size_hw
        self._even_hw = (height + height % 2, width + width % 2)
        if self._even_hw != (height, width):
            logger.warning(
                "%s: frames of %dx%d are extended to %dx%d", self.path, height, width, *self._even_hw
            )
        self._overlay = Overlay(
            stream_format.size_hw,
            stream_format.classes,
            stream_format.palette,
            opacity=self._opacity,
            legend=self._has_legend,
        )
        self._picture: UInt8Array = np.empty((height, width, 3), np.uint8)
        self._extended: UInt8Array = np.empty((*self._even_hw, 3), np.uint8)
        self._fps = self._fps or stream_format.fps or DEFAULT_FPS
        try:
            self._partial = self._stack.enter_context(replacing(self.path))
        except (OSError, UsageError) as error:
            raise SinkError(f"{self.path} cannot be written: {error}") from error
        codec = cv2.VideoWriter_fourcc(*_CODECS[self.path.suffix.lower()])
        self._writer = cv2.VideoWriter(str(self._partial), codec, self._fps, self._even_hw[::-1])
        if not self._writer.isOpened():
            self._writer = None
            self._discard()
            raise SinkError(
                f"{self.path} cannot be written as {width}x{height} video by OpenCV {cv2.__version__}; "
                "check that the folder is writable, or use .avi where the codec is missing"
            )

    def write(self, result: Result) -> None:
        """Blend and encode one result.

        Raises:
            SinkError: The sink is not open.
        """
        if self._writer is None:
            raise SinkError(f"{self.path} is not open")
        self._overlay.blend_into(result.frame, result.labels, self._picture)
        picture = self._picture
        height, width = picture.shape[:2]
        if self._even_hw != (height, width):
            picture = self._extended
            picture[:height, :width] = self._picture
            picture[height:, :width] = self._picture[-1:]
            picture[:, width:] = picture[:, width - 1 : width]
        self._writer.write(picture)
        self._written += 1

    def describe(self) -> dict[str, Any]:
        """Path, size, rate and frames written."""
        return {
            "kind": self.name,
            "path": str(self.path),
            "size_hw": list(self._even_hw) if self._written else None,
            "fps": self._fps,
            "frames": self._written,
        }

    def close(self) -> None:
        """Finish the file and rename it into place; see :class:`danet_runtime.sinks.base.Sink`.

        Raises:
            SinkError: The encoder lost frames, as on a full disk, or the file cannot be renamed.
        """
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        writer.release()
        if not self._written:
            self._discard()
            return
        # VideoWriter.write reports no failure; whether the file is whole shows only when it is opened again.
        cv2 = opencv("checking the written video")
        check = cv2.VideoCapture(str(self._partial))
        found = int(check.get(cv2.CAP_PROP_FRAME_COUNT)) if check.isOpened() else 0
        check.release()
        try:
            self._stack.close()
        except OSError as error:
            raise SinkError(f"{self.path} cannot be put in its place: {error}") from error
        if found < self._written:
            raise SinkError(
                f"{self.path} holds {found} of {self._written} frames; check the space on the disk"
            )

    def _discard(self) -> None:
        with suppress(_NothingWrittenError), self._stack:
            raise _NothingWrittenError
