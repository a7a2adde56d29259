"""The picture that sinks show: the classes' colors over each frame, drawn in one place for all of them."""

from __future__ import annotations

import numpy as np

from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.results.overlay import DEFAULT_OPACITY, Overlay
from danet_runtime.results.result import Result
from danet_runtime.sinks.protocol.sink import StreamFormat


class OverlayPicture:
    """Draws the results of one format into a picture of its own, which is used again.

    Args:
        stream_format: Format of the results.
        opacity: Share of the classes' colors, 0..1.
        legend: Whether to draw the names of the classes.

    Raises:
        UsageError: ``opacity`` is out of range.
        MissingDependencyError: OpenCV is not installed.
    """

    def __init__(
        self, stream_format: StreamFormat, *, opacity: float = DEFAULT_OPACITY, legend: bool = False
    ) -> None:
        self._overlay = Overlay(
            stream_format.size_hw,
            stream_format.classes,
            stream_format.palette,
            opacity=opacity,
            legend=legend,
            pixels=stream_format.pixels,
        )
        self._picture: UInt8Array = np.empty((*stream_format.size_hw, 3), np.uint8)

    def draw(self, result: Result) -> UInt8Array:
        """The overlay of one result, (H, W, 3) uint8 BGR; to be read until the next one is drawn."""
        self._overlay.blend_into(result.frame, result.labels, self._picture)
        return self._picture
