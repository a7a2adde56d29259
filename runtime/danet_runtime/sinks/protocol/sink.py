"""The protocol of every sink: results go in, a finished output comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

from danet_runtime.bundle.manifest import SegmentationClass
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.results.result import Result


@dataclass(frozen=True)
class StreamFormat:
    """The properties that all results of one stream share.

    Attributes:
        size_hw: Height and width of the frames and labels.
        fps: Frames a second of the source, or ``None``.
        classes: The bundle's classes.
        palette: (256, 3) uint8 BGR, one color a label; read-only.
        pixels: Format of the frames; :func:`danet_runtime.frames.color.to_bgr` makes them BGR.
        sample_aspect_ratio: Ratio of a pixel's width to its height.
        is_variable: Whether results of a file have times that ``fps`` does not tell: their
            ``media_time_ms`` counts.
    """

    size_hw: tuple[int, int]
    fps: float | None
    classes: Sequence[SegmentationClass]
    palette: UInt8Array
    pixels: Pixels = BGR
    sample_aspect_ratio: Fraction = Fraction(1)
    is_variable: bool = False

    @property
    def shown(self) -> str:
        """Size and pixel format, for a message."""
        return f"{self.size_hw[0]}x{self.size_hw[1]} in {self.pixels}"


@runtime_checkable
class Sink(Protocol):
    """A place for results; a stream opens it, writes from one thread of its own, and always closes it.

    ``close`` finishes the output, so that what was written is usable, also after a failure elsewhere.

    What a sink may have besides, such as a way to take frames of another size, stands in
    :mod:`danet_runtime.sinks.protocol.abilities`.
    """

    name: str

    def open(self, stream_format: StreamFormat) -> None:
        """Prepare the output, before the first frame is segmented.

        Raises:
            SinkError: It cannot be written.
            UsageError: It exists already and may not be replaced.
        """

    def write(self, result: Result) -> None:
        """Write one result; its arrays are only read, and only during the call.

        Raises:
            SinkError: It cannot be written.
        """

    def describe(self) -> dict[str, Any]:
        """Return what is written and where, for reports."""

    def close(self) -> None:
        """Finish the output; leave none where nothing was written. Harmless when called twice.

        Raises:
            SinkError: The output is not whole.
        """
