"""A video file that is playable at every moment, also after a kill, a power cut or a full disk."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from danet_runtime.dependencies import PYAV, require
from danet_runtime.errors import SinkError, UsageError
from danet_runtime.files.atomic import check_file_target
from danet_runtime.files.durability import make_folder, sync_descriptor
from danet_runtime.files.targets import check_seekable, is_taken, open_file
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.sinks.writing.flushing import Flusher
from danet_runtime.timing import exact_rate

logger = logging.getLogger(__name__)

FRAGMENT_S: Final = 0.5
"""A kill costs at most so much of the end, and one frame."""

_ISO = {"movflags": "hybrid_fragmented", "frag_duration": str(int(FRAGMENT_S * 1e6)), "flush_packets": "1"}
_MATROSKA = {"cluster_time_limit": str(int(FRAGMENT_S * 1e3)), "flush_packets": "1"}
_CONTAINERS: Final = {
    ".mp4": ("mp4", _ISO),
    ".m4v": ("mp4", _ISO),
    ".mov": ("mov", _ISO),
    ".mkv": ("matroska", _MATROSKA),
    ".avi": ("avi", {"flush_packets": "1"}),
}
VIDEO_SUFFIXES: Final = tuple(_CONTAINERS)

_H264: Final[dict[str, str]] = {"preset": "ultrafast", "tune": "zerolatency", "crf": "23"}
_CODECS: Final[tuple[tuple[str, dict[str, str]], ...]] = (("libx264", _H264), ("mpeg4", {}))
_MJPEG: Final[tuple[str, dict[str, str]]] = ("mjpeg", {"qmin": "3", "qmax": "3"})
_BITS_A_PIXEL = 0.2
_TICKS_A_SECOND: Final = 60_000
"""Time base of a video whose pictures have times of their own; MPEG-4 allows no more than 65535."""


def check_video_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a path that no video may be written to.

    Raises:
        UsageError: The suffix is unknown, ``path`` exists and ``overwrite`` is false, or it is no file.
    """
    if path.suffix.lower() not in _CONTAINERS:
        raise UsageError(f"{path}: expected a video with one of {', '.join(_CONTAINERS)}")
    if path.is_dir() or (is_taken(path) and not overwrite):
        raise UsageError(f"{path} exists already; give another path, or --overwrite to replace it")
    check_seekable(path)


class VideoFile:
    """Writes pictures of one size, at one rate or each at its own time.

    .mp4, .m4v and .mov are written in fragments of half a second and become ordinary, indexed files when they
    are finished (FFmpeg's ``hybrid_fragmented``); .mkv is written in clusters, .avi as Motion JPEG frame by
    frame. So the file stands at its path from the first frame on and can be played at every moment. Each
    packet goes to the operating system at once: a full disk shows at the frame that did not fit, and what was
    written before stays. What the operating system has is flushed to the disk every second
    (:mod:`danet_runtime.sinks.writing.flushing`) and when the file is finished: a power cut costs at most
    what was shown in that second, the fragment before it, and what came while the flush ran.

    AVI has a rate and no times: there pictures with times of their own are shown one after the other at the
    rate, which is said once. All others keep times to a millisecond or better.

    H.264 needs even sizes: an odd one is extended by one repeated row or column.

    Args:
        path: Path of the file; its folder is made.
        size_hw: Height and width of the pictures.
        fps: Pictures a second; an estimate where they have times of their own.
        aspect: Ratio of a pixel's width to its height. AVI has no place for it.
        target: The file itself, where ``path`` is a link to it; by default ``path``. No link is followed that
            stands there when the first picture comes.
        overwrite: Whether a file that stands there then is replaced.

    Raises:
        SinkError: Nothing can be written there.
        MissingDependencyError: PyAV is not installed.

    Attributes:
        size_hw: Height and width of the video, both even.
        codec: Name of the encoder that is used.
        frames: Number of pictures in the file.
        has_own_times: Whether pictures come at times of their own and not at the rate; set before the first.
    """

    def __init__(
        self,
        path: Path,
        size_hw: tuple[int, int],
        fps: float,
        aspect: Fraction = Fraction(1),
        *,
        target: Path | None = None,
        overwrite: bool = False,
    ) -> None:
        self._av = require(PYAV, "writing a video")
        self._path = path
        self._target, self._overwrite = target or path, overwrite
        self._rate = exact_rate(fps)
        self._picture_hw = size_hw
        self._aspect = aspect.limit_denominator(255)  # as MPEG-4 writes it
        self.size_hw = (size_hw[0] + size_hw[0] % 2, size_hw[1] + size_hw[1] % 2)
        if self.size_hw != size_hw:
            logger.warning("%s: frames of %dx%d are extended to %dx%d", path, *size_hw, *self.size_hw)
        self._extended: UInt8Array | None = None
        self._format, self._options = _CONTAINERS[path.suffix.lower()]
        codecs = (_MJPEG,) if self._format == "avi" else _CODECS
        self.codec, self._codec_options = next(
            (entry for entry in codecs if entry[0] in self._av.codecs_available), codecs[-1]
        )
        self.frames = 0
        self.has_own_times = False
        self._tick = 1 / self._rate
        self._next_place = 0
        self._file: _GuardedFile | None = None
        self._container: Any = None
        self._stream: Any = None
        try:
            check_file_target(path)
            make_folder(self._target.parent)
        except (OSError, UsageError) as error:
            raise SinkError(f"{path} cannot be written: {error}") from error

    @property
    def descriptor(self) -> int:
        """The open file; -1 where there is none."""
        return self._file.descriptor if self._file is not None else -1

    @property
    def unflushed_s(self) -> float:
        """How long ago the oldest was written that may not be on the disk."""
        return self._file.flusher.behind_s if self._file is not None else 0.0

    def write(self, picture: UInt8Array, time_s: float | None = None) -> None:
        """Encode one picture and hand it to the operating system.

        Args:
            picture: (H, W, 3) uint8 BGR of the size given; only read.
            time_s: When it is shown, from 0 on; by default after the one before, at the rate.

        Raises:
            SinkError: It cannot be written, as on a full disk; no later one can be either.
        """
        if self._file is not None and (broken := self._file.error) is not None:
            self._file.error = broken
            raise SinkError(self._broken(broken)) from broken
        try:
            if self._container is None:
                self._start()
            frame = self._av.VideoFrame.from_ndarray(self._even(picture), format="bgr24")
            place = self._place(time_s)
            frame.pts, frame.time_base = place, self._tick
            self._container.mux(self._stream.encode(frame))
            self._next_place = place + 1
        except (OSError, ValueError, self._av.FFmpegError) as error:
            cause = self._file.error if self._file is not None and self._file.error is not None else error
            if self._file is not None:
                self._file.error = cause
            raise SinkError(self._broken(cause)) from cause
        self.frames += 1

    def close(self) -> None:
        """Finish the file; leave none where nothing was written. Harmless when called twice.

        Raises:
            SinkError: The end cannot be written. What is there can be played.
        """
        container, self._container = self._container, None
        if container is None or self._file is None:
            return
        was_broken, was_reported = self._file.error is not None, self._file.is_reported
        try:
            if not was_broken:
                container.mux(self._stream.encode(None))
            container.close()  # after a failure nothing of it reaches the file: see _GuardedFile
            if self.frames:
                self._file.flusher.close()
        except (OSError, ValueError, self._av.FFmpegError) as error:
            if not was_reported:
                raise SinkError(self._broken(self._file.error or error)) from error
        finally:
            self._file.close()
        if not self.frames:
            self._path.unlink(missing_ok=True)

    def _start(self) -> None:
        if self.has_own_times and self._format == "avi":
            logger.warning(
                "%s: AVI keeps no times, so pictures with times of their own, as of a camera, are played "
                "at %g a second, whenever they were captured; write .mp4 or .mkv for its own speed",
                self._path,
                float(self._rate),
            )
        elif self.has_own_times:
            self._tick = Fraction(1, _TICKS_A_SECOND)
        self._file = _GuardedFile(self._target, overwrite=self._overwrite)
        self._container = self._av.open(self._file, "w", format=self._format, options=self._options)
        stream = self._container.add_stream(self.codec, rate=self._rate)
        height, width = self.size_hw
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if self.codec == "mjpeg" else "yuv420p"
        if self._aspect != 1:
            stream.codec_context.sample_aspect_ratio = self._aspect
        stream.codec_context.time_base = self._tick
        stream.codec_context.gop_size = max(1, round(FRAGMENT_S * float(self._rate)))
        stream.options = self._codec_options
        if self.codec == "mpeg4":
            stream.codec_context.bit_rate = int(_BITS_A_PIXEL * height * width * self._rate)
        self._stream = stream

    def _place(self, time_s: float | None) -> int:
        """Return the time of a picture in ticks: always later than that of the picture before."""
        if time_s is None or (self.has_own_times and self._format == "avi"):
            return self._next_place
        return max(self._next_place, round(time_s / self._tick))

    def _even(self, picture: UInt8Array) -> UInt8Array:
        height, width = self._picture_hw
        if self.size_hw == self._picture_hw:
            return picture
        if self._extended is None:
            self._extended = np.empty((*self.size_hw, 3), np.uint8)
        self._extended[:height, :width] = picture
        self._extended[height:, :width] = picture[-1:]
        self._extended[:, width:] = self._extended[:, width - 1 : width]
        return self._extended

    def _broken(self, error: BaseException) -> str:
        return (
            f"{self._path} cannot be written: {getattr(error, 'strerror', None) or error}; the "
            f"{self.frames} frames before are in it, up to the last {FRAGMENT_S:g} s"
        )


class _GuardedFile:
    """The file under the muxer: after a failed write nothing changes it any more.

    Finishing a hybrid MP4 hides its fragments behind an index at the end. Where that index does not fit on
    the disk, the fragments must stay as they are. So it is with a power cut: the index is flushed before the
    eight bytes at the beginning that lead to it are written, since a disk may have the later write first.

    Attributes:
        error: Error of a failed write or flush; the setter takes note that it was raised.
        flusher: Flushes it while it is written.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self._fd = open_file(path, overwrite=overwrite)
        self._at = self._end = 0
        self._error: BaseException | None = None
        self.flusher = Flusher.of_file(path, self._fd)
        self.flusher.start()

    @property
    def error(self) -> BaseException | None:
        return self._error or self.flusher.error

    @error.setter
    def error(self, error: BaseException) -> None:
        self._error = error

    @property
    def descriptor(self) -> int:
        return self._fd

    @property
    def is_reported(self) -> bool:
        return self._error is not None

    def write(self, data: bytes) -> int:
        if self.error is None:
            view = memoryview(data)
            try:
                if self._at < self._end:
                    sync_descriptor(self._fd)
                while len(view):
                    view = view[os.write(self._fd, view) :]
            except OSError as error:
                self.error = error
                raise
            self.flusher.note()
        self._at += len(data)
        self._end = max(self._end, self._at)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = os.lseek(self._fd, offset, whence)
        return self._at

    def tell(self) -> int:
        return os.lseek(self._fd, 0, os.SEEK_CUR)

    def close(self) -> None:
        if self._fd >= 0:
            with suppress(OSError):  # what is broken is flushed as far as it goes
                self.flusher.close()
            os.close(self._fd)
            self._fd = -1
