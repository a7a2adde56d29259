"""Labels as PNG files in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from danet_runtime.dependencies import OPENCV
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.results.encoding import encode_mask
from danet_runtime.results.result import Result
from danet_runtime.sinks.protocol.sink import StreamFormat
from danet_runtime.sinks.protocol.statement import SinkStatement, SinkWanted
from danet_runtime.sinks.writing.picture_folder import PictureFolder


class MasksSink(PictureFolder):
    """Writes the labels of every result as one PNG, see :class:`PictureFolder`.

    A PNG has one channel, the frame's size, and the labels as they are (255: no class), with the colors of
    the classes as its palette, or none. Pillow, torchvision and GIMP know palettes; OpenCV does not, and
    reads the colors: for it ask for grey ones.

    Args:
        folder: As for :class:`PictureFolder`.
        overwrite: As for :class:`PictureFolder`.
        grey: Whether the pictures are grey.

    Raises:
        UsageError: As for :class:`PictureFolder`.
    """

    name = "masks"
    statement: ClassVar = SinkStatement(
        name=name,
        form="masks:FOLDER or a folder",
        help="one PNG with labels a frame",
        needs=((OPENCV,),),
        schemes=("masks",),
        writes="folder",
    )

    @classmethod
    def named(cls, rest: str, wanted: SinkWanted) -> MasksSink:
        """See :class:`danet_runtime.sinks.protocol.statement.RegisteredSink`."""
        return cls(rest, overwrite=wanted.overwrite, grey=wanted.grey_masks)

    def __init__(self, folder: str | Path, *, overwrite: bool = False, grey: bool = False) -> None:
        super().__init__(folder, overwrite=overwrite)
        self._grey = grey
        self._palette: UInt8Array | None = None

    def adopt(self, stream_format: StreamFormat) -> None:
        """Results of any size are taken."""
        self._palette = None if self._grey else stream_format.palette

    def _encode(self, result: Result) -> bytes:
        return encode_mask(result.labels, self._palette)
