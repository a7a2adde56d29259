"""The overlay of a single result as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from danet_runtime.dependencies import OPENCV, opencv
from danet_runtime.errors import SinkError, UsageError
from danet_runtime.files.atomic import check_file_target
from danet_runtime.files.targets import is_taken
from danet_runtime.results.encoding import PICTURE_SUFFIXES, encode_picture, save
from danet_runtime.results.result import Result
from danet_runtime.results.style import OverlayStyle
from danet_runtime.sinks.protocol.overlay import OverlayPicture
from danet_runtime.sinks.protocol.sink import StreamFormat
from danet_runtime.sinks.protocol.statement import SinkStatement, SinkWanted


class PictureSink:
    """Writes the overlay of one result as a picture; see :class:`danet_runtime.sinks.protocol.sink.Sink`.

    The file appears whole or not at all, and is on the disk when it was written.

    Args:
        path: Path of the file; its suffix chooses the format.
        style: How the overlay is drawn.
        overwrite: Whether a file at ``path`` may be replaced.

    Raises:
        UsageError: The suffix is unknown, or ``path`` exists and ``overwrite`` is false.
    """

    name = "picture"
    statement: ClassVar = SinkStatement(
        name=name,
        form="a picture (.png, .jpg, .webp, .bmp, .tif)",
        help="of one frame",
        needs=((OPENCV,),),
        suffixes=PICTURE_SUFFIXES,
        writes="picture",
    )

    @classmethod
    def named(cls, rest: str, wanted: SinkWanted) -> PictureSink:
        """See :class:`danet_runtime.sinks.protocol.statement.RegisteredSink`."""
        return cls(rest, style=wanted.style, overwrite=wanted.overwrite)

    def __init__(
        self, path: str | Path, *, style: OverlayStyle | None = None, overwrite: bool = False
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in PICTURE_SUFFIXES:
            raise UsageError(f"{self.path} must end in {', '.join(PICTURE_SUFFIXES)}")
        if is_taken(self.path) and not overwrite:
            raise UsageError(f"{self.path} exists already; give another path, or --overwrite to replace it")
        check_file_target(self.path)
        self._style = style
        self._written = 0
        self._overlay: OverlayPicture | None = None

    def open(self, stream_format: StreamFormat) -> None:
        """Prepare the drawing.

        Raises:
            MissingDependencyError: OpenCV is not installed.
        """
        opencv("writing a picture")
        self.adopt(stream_format)

    def adopt(self, stream_format: StreamFormat) -> None:
        """Draw results of this size and format from now on."""
        self._overlay = OverlayPicture(stream_format, self._style)

    def write(self, result: Result) -> None:
        """Write the picture.

        Raises:
            SinkError: It was written already, or cannot be written.
        """
        if self._overlay is None:
            raise SinkError(f"{self.path} is not open")
        if self._written:
            raise SinkError(
                f"{self.path} is one picture and holds the first frame already; for several give "
                "overlays:FOLDER or a video"
            )
        save(self.path, encode_picture(self._overlay.draw(result), self.path.suffix))
        self._written += 1

    def describe(self) -> dict[str, Any]:
        """Path and number of pictures."""
        return {"kind": self.name, "path": str(self.path), "frames": self._written}

    def close(self) -> None:
        """Nothing is left to finish."""
