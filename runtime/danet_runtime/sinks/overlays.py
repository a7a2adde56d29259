"""Overlays as PNG files in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from danet_runtime.dependencies import OPENCV
from danet_runtime.results.encoding import encode_picture
from danet_runtime.results.result import Result
from danet_runtime.results.style import OverlayStyle
from danet_runtime.sinks.protocol.overlay import OverlayPicture
from danet_runtime.sinks.protocol.sink import StreamFormat
from danet_runtime.sinks.protocol.statement import SinkStatement, SinkWanted
from danet_runtime.sinks.writing.picture_folder import PictureFolder


class OverlaysSink(PictureFolder):
    """Writes the overlay of every result as one PNG, see :class:`PictureFolder`.

    Args:
        folder: As for :class:`PictureFolder`.
        style: How the overlay is drawn.
        overwrite: As for :class:`PictureFolder`.

    Raises:
        UsageError: As for :class:`PictureFolder`.
    """

    name = "overlays"
    statement: ClassVar = SinkStatement(
        name=name,
        form="overlays:FOLDER",
        help="a picture of each frame",
        needs=((OPENCV,),),
        schemes=("overlays",),
        writes="folder",
    )

    @classmethod
    def named(cls, rest: str, wanted: SinkWanted) -> OverlaysSink:
        """See :class:`danet_runtime.sinks.protocol.statement.RegisteredSink`."""
        return cls(rest, style=wanted.style, overwrite=wanted.overwrite)

    def __init__(
        self, folder: str | Path, *, style: OverlayStyle | None = None, overwrite: bool = False
    ) -> None:
        super().__init__(folder, overwrite=overwrite)
        self._style = style

    def adopt(self, stream_format: StreamFormat) -> None:
        """Draw results of this size and format from now on."""
        self._overlay = OverlayPicture(stream_format, self._style)

    def _encode(self, result: Result) -> bytes:
        return encode_picture(self._overlay.draw(result), ".png")
