"""The overlay as a video file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from danet_runtime.dependencies import OPENCV, PYAV
from danet_runtime.errors import SinkError, SinkFormatError
from danet_runtime.files.targets import followed
from danet_runtime.results.result import Result
from danet_runtime.results.style import OverlayStyle
from danet_runtime.sinks.protocol.overlay import OverlayPicture
from danet_runtime.sinks.protocol.presentation import DEFAULT_FPS, PresentationClock, is_live
from danet_runtime.sinks.protocol.sink import StreamFormat
from danet_runtime.sinks.protocol.statement import SinkStatement, SinkWanted
from danet_runtime.sinks.writing.video_file import VIDEO_SUFFIXES, VideoFile, check_video_target


class VideoSink:
    """Writes the overlay of every result to a video; see :class:`danet_runtime.sinks.protocol.sink.Sink`.

    The video has the frames' size (an odd one is extended by one pixel). Of a file it has the rate, or where
    that varies the times, and the shape of the pixels; of a camera every frame is shown when it was captured,
    so that it plays at the right speed and gaps are seen (AVI keeps only the rate). It stands at its path
    from the first frame on and stays playable when the process is killed, see
    :class:`danet_runtime.sinks.writing.video_file.VideoFile`. A file that it replaces is gone from then on.

    Args:
        path: Path of the file; its suffix chooses the container (.mp4, .m4v, .mov, .mkv: H.264, or MPEG-4 if
            FFmpeg has no x264; .avi: MJPEG).
        fps: Frames a second of a file; by default the source's, or 10 where it has none.
        style: How the overlay is drawn.
        overwrite: Whether a file at ``path`` may be replaced.

    Raises:
        UsageError: The suffix is unknown, or ``path`` exists and ``overwrite`` is false.
    """

    name = "video"
    statement: ClassVar = SinkStatement(
        name=name,
        form=f"a video file ({', '.join(VIDEO_SUFFIXES)})",
        needs=((OPENCV,), (PYAV,)),
        suffixes=VIDEO_SUFFIXES,
        writes="file",
    )

    @classmethod
    def named(cls, rest: str, wanted: SinkWanted) -> VideoSink:
        """See :class:`danet_runtime.sinks.protocol.statement.RegisteredSink`."""
        return cls(rest, style=wanted.style, overwrite=wanted.overwrite)

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float | None = None,
        style: OverlayStyle | None = None,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        check_video_target(self.path, overwrite=overwrite)
        self._target, self._overwrite = followed(self.path), overwrite
        self._fps = fps
        self._style = style
        self._file: VideoFile | None = None

    @property
    def descriptor(self) -> int:
        """The open file; -1 where there is none."""
        return self._file.descriptor if self._file is not None else -1

    @property
    def unflushed_s(self) -> float:
        """How long ago the oldest was written that may not be on the disk."""
        return self._file.unflushed_s if self._file is not None else 0.0

    def open(self, stream_format: StreamFormat) -> None:
        """Prepare the encoder; the file appears with the first frame.

        Raises:
            SinkError: It cannot be written there.
            MissingDependencyError: OpenCV or PyAV is not installed.
        """
        self._overlay = OverlayPicture(stream_format, self._style)
        self._fps = self._fps or stream_format.fps or DEFAULT_FPS
        self._is_variable = stream_format.is_variable
        self._clock = PresentationClock(self._fps, is_variable=self._is_variable)
        self._file = VideoFile(
            self.path,
            stream_format.size_hw,
            self._fps,
            stream_format.sample_aspect_ratio,
            target=self._target,
            overwrite=self._overwrite,
        )

    def adopt(self, stream_format: StreamFormat) -> None:
        """Take results of another size or format, where none was written yet.

        Raises:
            SinkFormatError: The video has begun, and has one size.
            SinkError: It cannot be written.
        """
        file = self._file
        if file is not None and file.frames:
            raise SinkFormatError(
                f"{self.path} was begun with another size than {stream_format.shown}, and a video has one; "
                "with --split-minutes a new part begins"
            )
        if file is not None:
            file.close()
        self.open(stream_format)

    def write(self, result: Result) -> None:
        """Blend and encode one result.

        Raises:
            SinkError: The sink is not open, or the frame cannot be written, as on a full disk.
        """
        if self._file is None:
            raise SinkError(f"{self.path} is not open")
        picture = self._overlay.draw(result)
        self._file.has_own_times = self._is_variable or is_live(result)
        self._file.write(picture, self._clock.seconds(result))

    def describe(self) -> dict[str, Any]:
        """Path, size, rate, encoder and frames written."""
        file = self._file
        return {
            "kind": self.name,
            "path": str(self.path),
            "size_hw": list(file.size_hw) if file and file.frames else None,
            "fps": self._fps,
            "codec": file.codec if file else None,
            "frames": file.frames if file else 0,
        }

    def close(self) -> None:
        """Finish the file; see :class:`danet_runtime.sinks.protocol.sink.Sink`.

        Raises:
            SinkError: The end cannot be written.
        """
        if self._file is not None:
            self._file.close()
