"""Frames of a video file."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

from danet_runtime.clock import now_ns
from danet_runtime.dependencies import OPENCV, PYAV, require
from danet_runtime.errors import (
    MissingDependencyError,
    SourceDamagedError,
    SourceError,
    SourceTruncatedError,
)
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.pictures.header import MOST_PIXELS
from danet_runtime.sources.protocol.damage import DamageCount, DamagePolicy, DamageReason
from danet_runtime.sources.protocol.source import FrameInfo, check_size
from danet_runtime.sources.protocol.statement import SourceStatement, Wanted
from danet_runtime.sources.video_files.container import VideoContainer
from danet_runtime.sources.video_files.decoder import DecodedFrame, VideoDecoder
from danet_runtime.sources.video_files.ends import missing_bytes
from danet_runtime.sources.video_files.frames import FrameWriter
from danet_runtime.sources.video_files.opencv_video import LIMITS, OpenCvVideoSource
from danet_runtime.sources.video_files.still_pictures import picture_in, refuse_stills
from danet_runtime.sources.video_files.times import DisplayTimes

logger = logging.getLogger(__name__)


def open_video(path: Path, damaged: DamagePolicy = "drop") -> VideoSource | OpenCvVideoSource:
    """Open a video file with PyAV, or with OpenCV, and a word on its limits, where PyAV is not installed.

    The arguments and errors are those of :class:`VideoSource`. A picture under another name is told from a
    damaged video.
    """
    refuse_stills(path)
    try:
        return _opened(path, damaged)
    except SourceError as error:
        if (message := picture_in(path)) is None:
            raise
        raise SourceError(message) from error


def _opened(path: Path, damaged: DamagePolicy) -> VideoSource | OpenCvVideoSource:
    try:
        require(PYAV, f"reading {path}")
    except MissingDependencyError:
        source = OpenCvVideoSource(path)
        logger.warning("%s is read without PyAV: %s; %s", path, LIMITS, PYAV.install)
        return source
    return VideoSource(path, damaged)


class VideoSource:
    """Every frame of a video file, in order; see :class:`danet_runtime.sources.protocol.source.Source`.

    Frames come as they are shown: turned upright by the file's display matrix, without what an edit list
    hides, in the file's own colors, each with its own time. Interlaced video comes with the two fields of a
    frame woven together, as it is stored; pixels that are not square stay as they are stored, and
    ``sample_aspect_ratio`` says so.

    Ids are places in the file: a frame that is damaged, lost, or comes before the first key frame has one,
    too. What is damaged is counted in ``damage``, with what is built on it, up to the next key frame. Not all
    damage can be seen: VP8, VP9 and mostly HEVC decode changed bytes to wrong pictures without an error, and
    a frame that is missing altogether leaves, but in H.264 and H.265 and where the container breaks off, only
    a gap of time.

    Args:
        path: The file.
        damaged: How such frames are treated: left out, delivered with the reason, or (``stop``) an error that
            ends the file.

    Raises:
        SourceError: It is no video that FFmpeg can open and decode, or states an absurd size.
        MissingDependencyError: PyAV is not installed.

    Attributes:
        size_hw: Height and width of every frame, as they come.
        fps: Frames a second, on average where the rate varies; ``None`` where neither the file nor its times
            tell.
        count: How many frames will come: its packets, which are counted where the file has at most a
            gigabyte, else what the container says.
        sample_aspect_ratio: Ratio of a pixel's width to its height.
        is_variable: Whether the rate does not tell when frames are shown: they come at no constant one, or
            the file is too large to look.
        damage: Counter of the damaged frames.
    """

    statement: ClassVar = SourceStatement(
        name="video", form="a video file", needs=((PYAV, OPENCV),), reads_other_files=True
    )
    live = False

    @classmethod
    def named(cls, text: str, wanted: Wanted) -> VideoSource | OpenCvVideoSource:
        """The video at a path; see :func:`open_video`."""
        return open_video(Path(text), wanted.damaged)

    def __init__(self, path: str | Path, damaged: DamagePolicy = "drop") -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise SourceError(f"{self.path} is not a file; expected a video")
        self.damage = DamageCount()
        self._policy = damaged
        self._container = VideoContainer(self.path)
        try:
            self._decoder = VideoDecoder(self._container.av, self._container.context)
            self._scan = self._container.scan()
            self._packets = self._container.packets(self._scan)
            self._place = 0
            self._delivered = 0
            self._is_open = True
            self._ended = False
            self._has_warned = False
            self._next: tuple[int, DecodedFrame] | None = self._find()
            if self._next is None:
                raise SourceError(self._gives_nothing())
            first = self._next[1].frame
            check_size(self.path, first.height, first.width)
            self._writer = FrameWriter(self._container.av, first)
        except BaseException:
            self._container.close()
            raise
        self.size_hw = self._writer.size_hw
        self.fps = self._container.fps if self._scan is None else self._scan.fps
        self.count = self._container.announced_frames if self._scan is None else self._scan.frames
        self.is_variable = self._scan is None or self._scan.is_variable
        self._times = DisplayTimes(self._container.start_s, self.fps, may_leap=self._container.may_leap)
        aspect = self._container.aspect
        self.sample_aspect_ratio: Fraction = 1 / aspect if self._writer.orientation.is_transposed else aspect
        self._is_interlaced = bool(first.interlaced_frame)
        self._say_what_is_odd()

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        """Convert the next frame into the buffer.

        Raises:
            SourceTruncatedError: The file ended before its announced end.
            SourceDamagedError: At the end: frames of it were damaged; or, where ``stop`` was asked for, here.
            SourceError: The frame size changed on the way, or the source is closed.
        """
        if not self._is_open:
            raise SourceError(f"{self.path} is closed; open it again")
        found, self._next = self._next or self._find(), None
        if found is None:
            self._end()
            return None
        place, decoded = found
        if not self._writer.fits(decoded.frame):
            raise SourceError(
                f"{self.path} changed from {self._writer.size_hw} to frames that are stored as "
                f"{(decoded.frame.height, decoded.frame.width)} (height, width) on the way; "
                "a source must keep one size"
            )
        self._writer.write(decoded.frame, buffer)
        self._delivered += 1
        by_decoding = self._container.is_timed_by_decoding
        time_s = self._container.seconds(decoded.position if by_decoding else decoded.frame.pts)
        return FrameInfo(place, now_ns(), 1e3 * self._times.of(place, time_s), damage=decoded.damage)

    def describe(self) -> dict[str, Any]:
        """Path, size, rate, count, and how the file is stored."""
        orientation = self._writer.orientation
        return {
            "kind": "video",
            "path": str(self.path),
            "size_hw": list(self.size_hw),
            "fps": self.fps,
            "variable_rate": None if self._scan is None else self.is_variable,
            "count": self.count,
            "count_is_exact": self._scan is not None,
            "unfilled": None if self._scan is None else self._scan.unfilled,
            "live": self.live,
            "decoder": "PyAV",
            "container": self._container.name,
            "codec": self._container.codec,
            "start_s": self._container.start_s or 0.0,
            "is_transposed": orientation.is_transposed,
            "flips": [orientation.flips_rows, orientation.flips_columns],
            "sample_aspect_ratio": str(self.sample_aspect_ratio),
            "fields": "woven" if self._is_interlaced else None,
            "damaged": dict(self.damage.counts),
        }

    def close(self) -> None:
        """Release the file; harmless when called twice."""
        self._is_open = False
        self._next = None
        self._packets.close()
        self._container.close()

    def _find(self) -> tuple[int, DecodedFrame] | None:
        """The next frame that is delivered, with its place in the file."""
        while not self._ended:
            for decoded in self._decoder.frames():
                place = self._place
                self._place += 1
                if decoded.damage is None:
                    return place, decoded
                self.damage.add(decoded.damage)
                self._meet(place, decoded.damage)
                if self._policy == "mark" and decoded.frame is not None:
                    return place, decoded
            read = next(self._packets, None)
            if read is not None:
                self._decoder.miss(read.lost_before)
                if read.packet is not None:
                    self._decoder.feed(read.packet, read.damage)
            elif not self._decoder.has_finished:
                self._decoder.finish()
            else:
                self._ended = True
        return None

    def _meet(self, place: int, reason: DamageReason) -> None:
        if reason == "no key frame yet":
            return
        if self._policy == "stop":
            self._ended = True
            raise SourceDamagedError(
                f"{self.path} is damaged at frame {place} ({reason}); the {self._delivered} frames before "
                "were read"
            )
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "%s is damaged at frame %d (%s); such frames are counted, with those that are built on them",
                self.path,
                place,
                reason,
            )

    def _end(self) -> None:
        """Say what is missing, where something is."""
        counts = dict(self.damage.counts)
        missing = missing_bytes(self.path)
        if missing or "cut off" in counts:
            announced = self._container.announced_frames or 0
            of = f" of {announced}" if announced > self._delivered else ""
            lacks = f" ({missing} bytes are missing)" if missing else ""
            raise SourceTruncatedError(
                f"{self.path} ended after {self._delivered}{of} frames; the file is damaged or cut off"
                f"{lacks}; the frames before were read"
            )
        counts.pop("no key frame yet", None)
        if counts:
            by_reason = ", ".join(f"{count} {reason}" for reason, count in counts.items())
            what = "are marked" if self._policy == "mark" else "were left out"
            raise SourceDamagedError(
                f"{self.path} is damaged: {sum(counts.values())} of its frames {what} ({by_reason}); the "
                "others were read"
            )

    def _gives_nothing(self) -> str:
        counts = self.damage.counts
        by_reason = ", ".join(f"{count} {reason}" for reason, count in counts.items())
        why = f"; its frames are damaged ({by_reason})" if counts else ""
        if self._decoder.hides_any:
            why += "; an edit list hides its frames: cut it again, or convert it"
        if not self._container.context.width:
            why += f"; it states no size, or one of more than {MOST_PIXELS} pixels, which is not read"
        return (
            f"{self.path} opens but gives no frame: {self._container.codec} video in "
            f"{self._container.name}{why}; expected at least one whole key frame"
        )

    def _say_what_is_odd(self) -> None:
        early = self.damage.counts.get("no key frame yet", 0)
        if early and self._policy != "mark":
            logger.warning(
                "%s begins between two key frames: its first %d frames build on what is not in it and are "
                "left out",
                self.path,
                early,
            )
        if self._is_interlaced:
            logger.warning(
                "%s is interlaced: each frame is its two fields woven together, as it is stored", self.path
            )
        if self._writer.is_skewed:
            logger.warning("%s is turned by no multiple of 90 degrees, which is left out", self.path)
        if self._scan is None:
            logger.info("%s is too large to count its frames before it is read", self.path)
        elif self._scan.unfilled:
            logger.warning(
                "%s has %d frames and %d places without one, which its recorder dropped: the frame before "
                "is shown longer",
                self.path,
                self._scan.frames,
                self._scan.unfilled,
            )
