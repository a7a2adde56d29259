"""Frames of a video file where PyAV is not installed, as on a Jetson with JetPack's OpenCV alone."""

from __future__ import annotations

import functools
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from danet_runtime.clock import now_ns
from danet_runtime.dependencies import PYAV, opencv
from danet_runtime.errors import MissingDependencyError, SourceError, SourceTruncatedError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.sources.protocol.source import FrameInfo
from danet_runtime.sources.video_files.capture import InPlaceCapture

logger = logging.getLogger(__name__)

_ESTIMATE_SLACK_S = 1.0

_INTERLACED: Final = bytes.fromhex(
    "000001b302002013ffffe018000001b5148200010000000001b80008004000000100000ffff8000001b58ffff3000000000101"
    "137d2294a445a529488800000102137d2294a445a5294888000001b302002013ffffe018000001b5148200010000000001b800"
    "0800c000000100000ffff8000001b58ffff3000000000101137d2294a445a529488800000102137d2294a445a5294888"
)
"""MPEG-2 of two frames, 32x32, in fields, all of it of one grey."""
_ITS_GREY: Final = 214


LIMITS = (
    "OpenCV believes the container's number of frames, gives damaged frames out as whole, pays no heed to "
    "varying rates and pixels that are not square"
)
"""Where this source falls short of :class:`danet_runtime.sources.video.VideoSource`."""


class OpenCvVideoSource:
    """Every frame of a video file, in order; see :class:`danet_runtime.sources.protocol.source.Source`.

    Where there is a choice, :class:`danet_runtime.sources.video.VideoSource` is it: see :data:`LIMITS`.
    OpenCV 5 takes no note of a picture that it could not convert, as every one of interlaced video, and gives
    out what was in its memory; nobody can tell from outside. So an OpenCV is tried with such a video first,
    and one that does it reads no files. Those of JetPack do not (4.10 was tried).

    A file that ends early is told apart from one that ends well: MP4, MOV and AVI count their frames, and one
    fewer is an error. Matroska and the others only give a duration, from which OpenCV estimates a count (and
    which an audio track may outlast); there the last frame must be within a second of that duration.

    Args:
        path: The file.

    Raises:
        SourceError: It is no video that OpenCV can open and decode.
        MissingDependencyError: OpenCV is not installed, or is such a one.
    """

    live = False

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise SourceError(f"{self.path} is not a file; expected a video")
        if not writes_what_it_gives():
            raise MissingDependencyError(
                PYAV.title,
                f"reading {self.path} (OpenCV {opencv('reading videos').__version__} is here, and gives "
                "out pictures that it has not written)",
                PYAV.install,
            )
        with named_for_opencv(self.path) as name:
            self._capture = InPlaceCapture(name, "CAP_ANY", str(self.path))
        self.size_hw = self._capture.size_hw
        self.fps = self._capture.fps
        self.count = self._capture.count
        self._count_is_exact = _counts_its_frames(self.path)
        self._read = 0
        self._media_time_ms = 0.0

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        """Decode the next frame in place.

        Raises:
            SourceTruncatedError: The file ended before the frames that it announces.
            SourceError: The frame size changed on the way, or the source is closed.
        """
        media_time_ms = self._capture.read_into(buffer)
        if media_time_ms is None:
            self._check_complete()
            return None
        info = FrameInfo(self._read, now_ns(), media_time_ms)
        self._read += 1
        self._media_time_ms = media_time_ms
        return info

    def _check_complete(self) -> None:
        if self.count is None or self._read >= self.count:
            return
        if not self._count_is_exact:
            duration_s = self.count / self.fps if self.fps else 0.0
            if self._media_time_ms / 1000 + _ESTIMATE_SLACK_S >= duration_s and self._read > 1:
                logger.info("%s: %d frames, %d were estimated", self.path, self._read, self.count)
                return
        raise SourceTruncatedError(
            f"{self.path} ended after {self._read} of {self.count} frames; the file is damaged or cut off; "
            "the frames before were read"
        )

    def describe(self) -> dict[str, Any]:
        """Path, size, rate and announced count."""
        return {
            "kind": "video",
            "path": str(self.path),
            "size_hw": list(self.size_hw),
            "fps": self.fps,
            "count": self.count,
            "count_is_exact": self._count_is_exact,
            "live": self.live,
            "decoder": self._capture.backend,
        }

    def close(self) -> None:
        """Release the file; harmless when called twice."""
        self._capture.close()


@contextmanager
def named_for_opencv(path: Path) -> Iterator[str]:
    """A name of the file, for as long as the block runs, on which OpenCV does not end the process.

    It does (5.0, a segmentation fault) where the name holds bytes that are no UTF-8.
    """
    name = str(path.absolute())
    try:
        name.encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        yield name


def _counts_its_frames(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head[4:8] == b"ftyp" or (head[:4] == b"RIFF" and head[8:] == b"AVI ")


@functools.cache
def writes_what_it_gives() -> bool:
    """Whether OpenCV gives out the frames of an interlaced video, and not what was in its memory.

    Raises:
        MissingDependencyError: OpenCV is not installed.
    """
    cv2 = opencv("reading videos")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "interlaced.m2v"
        path.write_bytes(_INTERLACED)
        with named_for_opencv(path) as name:
            capture = cv2.VideoCapture(name)
        try:
            _, frame = capture.read()
            return frame is not None and bool((abs(frame.astype(int) - _ITS_GREY) <= 3).all())
        finally:
            capture.release()
