"""The picture that sinks show: the classes' colors over each frame, drawn in one place for all of them."""

from __future__ import annotations

import numpy as np

from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.results.overlay import Overlay
from danet_runtime.results.result import Result
from danet_runtime.results.style import OverlayStyle
from danet_runtime.sinks.protocol.sink import StreamFormat


class OverlayPicture:
    """Draws the results of one format into a picture of its own, which is used again.

    Args:
        stream_format: Format of the results.
        style: How they are drawn.

    Raises:
        MissingDependencyError: OpenCV is not installed.
    """

    def __init__(self, stream_format: StreamFormat, style: OverlayStyle | None = None) -> None:
        self._overlay = Overlay(
            stream_format.size_hw, stream_format.classes, style, pixels=stream_format.pixels
        )
        self._picture: UInt8Array = np.empty((*stream_format.size_hw, 3), np.uint8)

    def draw(self, result: Result) -> UInt8Array:
        """The overlay of one result, (H, W, 3) uint8 BGR; to be read until the next one is drawn."""
        self._overlay.draw_into(result, self._picture)
        return self._picture
