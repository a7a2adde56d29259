"""A video file as FFmpeg demuxes it: opened with nothing but itself, its packets in order."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from danet_runtime.dependencies import PYAV, require
from danet_runtime.errors import SourceError
from danet_runtime.pictures.header import MOST_PIXELS
from danet_runtime.pictures.wholeness import JPEG_START
from danet_runtime.sources.protocol.damage import DamageReason
from danet_runtime.sources.protocol.source import check_size, plausible_fps
from danet_runtime.sources.video_files.structure import MOST_LOST, Gaps, breaks_of
from danet_runtime.sources.video_files.times import LEAP_S, Scan, Seen
from danet_runtime.sources.video_files.transport_gaps import gaps_of

logger = logging.getLogger(__name__)

SCANNED_BYTES: Final = 1 << 30
"""A file up to here is demuxed once to count its frames: 0.4 to 1 s where the disk does not hold it up."""

# Containers of one file. What names others, as playlists and scripts do (HLS, DASH, concat, SDP, image2), is
# no video here, whatever its suffix: it could read any file, or the network.
_CONTAINERS: Final = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,h264,hevc,vvc,av1,obu,ivf,asf,flv,"
    "live_flv,ogg,dv,mxf,gxf,nut,m4v,mjpeg,yuv4mpegpipe,gif,apng,wtv,rm,nsv,roq,vc1,h263,mpjpeg,dirac"
)
_MOTION_JPEG: Final = (".mjpeg", ".mjpg")
_COVER = 1 << 10  # AV_DISPOSITION_ATTACHED_PIC
_FAILURES_IN_A_ROW = 10
_CODEC_OPTIONS: Final = {"mjpeg": {"err_detect": "explode"}}
"""A JPEG cut in half decodes to half a picture and no error; the others tell without (see the tests)."""


class Read(NamedTuple):
    """A packet as it was read.

    Attributes:
        packet: PyAV's; ``None`` where packets are missing at the end.
        damage: Damage that the demuxer found in the packet.
        lost_before: How many packets are missing before it, by the times.
    """

    packet: Any
    damage: DamageReason | None
    lost_before: int = 0


class VideoContainer:
    """One video stream of a file.

    The file is opened by FFmpeg with the protocol ``file`` alone and as one of the containers that hold their
    video themselves. Of several videos it is the one that FFmpeg calls the best, and no cover picture.

    Args:
        path: The file.

    Raises:
        SourceError: It is no such container, is damaged beyond that, has no video, no decoder for it, or
            states an absurd size.
        MissingDependencyError: PyAV is not installed.

    Attributes:
        av: PyAV.
        stream: PyAV's stream.
        context: PyAV's decoder, not opened yet.
        name: Name of the container's format.
        codec: Name of the decoder.
        fps: Frames a second on average, or ``None`` where there is no sensible rate.
        start_s: The time at which the file begins, on its own clock; ``None`` where none is told.
        is_timed_by_decoding: Whether packets tell their place in the order of decoding alone, as AVI's do.
        may_leap: Whether the clock may be set anew on the way, as in transport and program streams.
        aspect: Ratio of a stored pixel's width to its height; 1 where none is stated.
        announced_frames: How many frames the container says it has: counted, or of its duration and rate.
    """

    def __init__(self, path: Path) -> None:
        self.av: Any = require(PYAV, f"reading {path}")
        self._path = path
        self._container = self._open()
        try:
            self.name = str(self._container.format.name)
            self._check_beginning()
            self.stream = self._choose()
            self.context = self._decoder()
            rates = (self.stream.average_rate, self.stream.guessed_rate, self.context.framerate)
            self.fps = next((fps for rate in rates if (fps := plausible_fps(float(rate or 0)))), None)
            self.is_timed_by_decoding = self.name == "avi"
            self.may_leap = self.name in ("mpegts", "mpeg")
            self.codec = str(self.context.name)
            # Read now: behind a closed file PyAV's stream is memory of others.
            self._tick = Fraction(self.stream.time_base.numerator, self.stream.time_base.denominator)
            start_us = self._container.start_time
            self.start_s = None if start_us is None else start_us / 1e6
            shape = self.stream.sample_aspect_ratio
            has_shape = shape and shape > 0
            self.aspect = Fraction(shape.numerator, shape.denominator) if has_shape else Fraction(1)
            self.announced_frames = self._announced()
        except BaseException:
            self.close()
            raise

    def seconds(self, pts: int | None) -> float | None:
        """A time of the stream in seconds, on the file's own clock."""
        return None if pts is None else float(pts * self._tick)

    def packets(self, seen: Scan | None) -> Generator[Read, None, None]:
        """Every packet of the video, with what is known to be wrong with it, or missing before it.

        Where the file cannot be read on, it is tried again from there, up to ten times in a row. What a
        transport stream lacks of a picture FFmpeg tells with the picture before, of which its parser sees the
        end as it meets the next, and of the first picture never: so the breaks count too.

        Args:
            seen: Result of :meth:`scan`.
        """
        gaps = self._gaps(seen)
        before: Read | None = None
        for packet in self._read():
            lost = gaps.before(packet.pos, self._time(packet, decoding=self.name == "mpegts"))
            if before is not None:
                is_broken = gaps.is_behind_a_break if self.name == "mpegts" else lost and gaps.reach_back
                yield before._replace(damage="lost packets") if is_broken else before
            before = Read(packet, "lost packets" if packet.is_corrupt else None, lost)
        if before is not None and gaps.has_more and gaps.reach_back:
            yield before._replace(damage="lost packets")
            yield Read(None, None, self._lacking_at_the_end(seen))
        elif before is not None:
            yield before if before.damage is None else before._replace(damage="cut off")

    def _gaps(self, seen: Scan | None) -> Gaps:
        """Return the known places at which packets are missing; none of a file too large to look through."""
        if seen is None:
            return Gaps([], self.fps, self._tick)
        if self.name == "mpegts":
            missing = gaps_of(self._path, self.stream.id)
            return Gaps(missing, self.fps, self._tick, reach_back=False, most_s=LEAP_S)
        broken = breaks_of(self._path)
        if self.announced_frames is None:
            return Gaps(broken, self.fps, self._tick)
        lacking = max(0, self.announced_frames - seen.places)
        if self.is_timed_by_decoding:
            return Gaps(broken, self.fps, self._tick, lacking=lacking)
        return Gaps(broken, self.fps, self._tick, most=min(max(1, lacking), MOST_LOST))

    def _lacking_at_the_end(self, seen: Scan | None) -> int:
        """How many packets are missing behind the last one, at least one; sound may last longer than they."""
        if seen is None or self.announced_frames is None or len(self._container.streams) > 1:
            return 1
        return min(max(1, self.announced_frames - seen.frames), MOST_LOST)

    def scan(self) -> Scan | None:
        """Demux a second opening of the file to its end; ``None`` where it has over a gigabyte."""
        try:
            if self._path.stat().st_size > SCANNED_BYTES:
                return None
            other = VideoContainer(self._path)
        except (OSError, SourceError):
            return None
        try:
            return Scan.of(other.packets_seen(), self._tick, self.fps, has_places=self.is_timed_by_decoding)
        finally:
            other.close()

    def packets_seen(self) -> Iterator[Seen]:
        """The time of every packet, and whether it is hidden, without its content."""
        for packet in self._read():
            yield Seen(self._time(packet), bool(packet.is_discard))

    def _time(self, packet: Any, *, decoding: bool = False) -> int | None:  # noqa: ANN401 - of PyAV
        is_placed = self.is_timed_by_decoding or packet.pts is None or (decoding and packet.dts is not None)
        return cast("int | None", packet.dts if is_placed else packet.pts)

    def close(self) -> None:
        """Close the file; harmless when called twice."""
        with suppress(self.av.FFmpegError):
            self._container.close()

    def _read(self) -> Iterator[Any]:
        failures = 0
        while failures < _FAILURES_IN_A_ROW:
            try:
                for packet in self._container.demux(self.stream):
                    if packet.size:  # the last one is empty
                        failures = 0
                        yield packet
            except IndexError:  # of PyAV, at the end of a file in which a stream began on the way
                return
            except self.av.FFmpegError as error:
                logger.info("%s cannot be read on here: %s", self._path, error.strerror)
                failures += 1
            else:
                return

    def _open(self) -> Any:  # noqa: ANN401 - of PyAV
        options = {
            "protocol_whitelist": "file",
            "format_whitelist": _CONTAINERS,
            "max_pixels": str(MOST_PIXELS),  # for what is decoded to find the streams
        }
        # From 19 on tags in other encodings than UTF-8 are let through without being asked for.
        tags = {"metadata_errors": "replace"} if int(self.av.__version__.split(".")[0]) < 19 else {}
        try:
            # Not the bare name: "a:b.mp4" would be the protocol a.
            name = f"file:{os.path.abspath(self._path)}"  # noqa: PTH100
            return self.av.open(name, format=self._format(), options=options, **tags)
        except (self.av.FFmpegError, ValueError) as error:
            raise SourceError(
                f"{self._path} cannot be opened as a video by PyAV {self.av.__version__} "
                f"({getattr(error, 'strerror', None) or error}); the file may be damaged, cut off or no "
                "video (an MP4 whose recording was not closed has no index; playlists are not followed)"
            ) from error

    def _format(self) -> str | None:
        """Return the format to open it as: that of a file of JPEGs, which FFmpeg may miss; else ``None``."""
        return "mjpeg" if self._path.suffix.lower() in _MOTION_JPEG and self._begins_as_jpeg() else None

    def _begins_as_jpeg(self) -> bool:
        with self._path.open("rb") as file:
            return file.read(len(JPEG_START)) == JPEG_START

    def _check_beginning(self) -> None:
        """Refuse what FFmpeg takes for Motion JPEG for a JPEG that is in it: documents, raw photographs."""
        if self.name != "mjpeg" or self._path.suffix.lower() in _MOTION_JPEG or self._begins_as_jpeg():
            return
        raise SourceError(
            f"{self._path} cannot be opened as a video: there are JPEG pictures in it, between other things; "
            "take them out of it, or convert it"
        )

    def _announced(self) -> int | None:
        if self.stream.frames:
            return int(self.stream.frames)
        duration_us = self._container.duration
        return round(duration_us * self.fps / 1e6) if duration_us and self.fps else None

    def _choose(self) -> Any:  # noqa: ANN401 - of PyAV
        # PyAV 14 does not tell covers from videos yet.
        videos = [one for one in self._container.streams.video if not getattr(one, "disposition", 0) & _COVER]
        if not videos:
            raise SourceError(f"{self._path} cannot be opened as a video: it holds none, only other streams")
        best = self._container.streams.best("video")
        return best if best in videos else videos[0]

    def _decoder(self) -> Any:  # noqa: ANN401 - of PyAV
        context = self.stream.codec_context
        if context is None:
            raise SourceError(
                f"{self._path} cannot be opened as a video: this FFmpeg has no decoder for what it holds, or "
                "the file is damaged or cut off; copy it again, or convert it to H.264"
            )
        check_size(self._path, context.height, context.width)
        flags = self.av.codec.context.Flags
        # Corrupt frames come out marked, so that they are counted; each says which packet it is of.
        context.flags |= int(flags.output_corrupt)
        context.copy_opaque = True
        context.options = {"max_pixels": str(MOST_PIXELS), **_CODEC_OPTIONS.get(context.name, {})}
        context.thread_type = "AUTO"
        return context
