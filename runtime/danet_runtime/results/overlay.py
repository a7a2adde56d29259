"""A picture of what the model saw: the classes' colors over the frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from danet_runtime.bundle.manifest import SegmentationClass
from danet_runtime.dependencies import opencv
from danet_runtime.errors import UsageError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.color import to_bgr
from danet_runtime.frames.pixel_formats import BGR, Pixels

DEFAULT_OPACITY = 0.5
"""Share of a class's color in the overlay; the rest is the frame."""

_FONT_HEIGHT_SHARE = 36  # a line of the legend is so small a part of the frame's height
_LINE_MIN_PX, _LINE_MAX_PX = 10, 32


class Overlay:
    """Blends labels over frames of one size, in buffers that are allocated once.

    Args:
        size_hw: Height and width of the frames.
        classes: The bundle's classes.
        palette: (256, 3) uint8 BGR, one color a label.
        opacity: Share of the color, 0..1.
        legend: Whether to draw the names of the classes into the upper left corner.
        pixels: Format of the frames; other than BGR they are converted before anything is drawn.

    Raises:
        UsageError: ``opacity`` is out of range.
        MissingDependencyError: OpenCV is not installed.
    """

    def __init__(
        self,
        size_hw: tuple[int, int],
        classes: Sequence[SegmentationClass],
        palette: UInt8Array,
        *,
        opacity: float = DEFAULT_OPACITY,
        legend: bool = False,
        pixels: Pixels = BGR,
    ) -> None:
        if not 0.0 <= opacity <= 1.0:
            raise UsageError(f"opacity must be between 0 and 1 (got {opacity})")
        self._cv2 = opencv("drawing overlays")
        self._opacity = opacity
        self._pixels = pixels
        self._bgr = None if pixels.format == "bgr" else np.empty((*size_hw, 3), np.uint8)
        self._class_count = len(classes)
        self._colors = np.ascontiguousarray(palette[:, None, :])  # (256, 1, 3), as applyColorMap takes it
        self._colored = np.empty((*size_hw, 3), np.uint8)
        self._unlabelled = np.empty(size_hw, np.bool_)
        self._legend = self._draw_legend(size_hw, classes, palette) if legend else None

    def blend_into(self, frame: UInt8Array, labels: UInt8Array, out: UInt8Array) -> None:
        """Write the overlay of one frame.

        Pixels whose label belongs to no class (255) show the frame unchanged.

        Args:
            frame: uint8 in the layout of ``pixels``, (H, W, 3) for BGR; only read.
            labels: (H, W) uint8; only read.
            out: (H, W, 3) uint8 BGR, C-contiguous, owned by the caller; overwritten. May be ``frame`` itself
                only where every pixel has a class.
        """
        if self._bgr is not None:
            frame = to_bgr(frame, self._pixels, self._bgr)
        self._cv2.applyColorMap(labels, self._colors, dst=self._colored)
        self._cv2.addWeighted(frame, 1.0 - self._opacity, self._colored, self._opacity, 0.0, dst=out)
        np.greater_equal(labels, self._class_count, out=self._unlabelled)
        if self._unlabelled.any():
            np.copyto(out, frame, where=self._unlabelled[..., None])
        if self._legend is not None:
            height, width = self._legend.shape[:2]
            out[:height, :width] = self._legend

    def _draw_legend(
        self, size_hw: tuple[int, int], classes: Sequence[SegmentationClass], palette: UInt8Array
    ) -> UInt8Array:
        cv2 = self._cv2
        line = min(max(size_hw[0] // _FONT_HEIGHT_SHARE, _LINE_MIN_PX), _LINE_MAX_PX)
        scale = line / 30.0
        font = cv2.FONT_HERSHEY_SIMPLEX
        text_width = max(cv2.getTextSize(entry.name, font, scale, 1)[0][0] for entry in classes)
        legend = np.zeros((line * len(classes), 2 * line + text_width, 3), np.uint8)
        for label, entry in enumerate(classes):
            top = label * line
            legend[top : top + line, :line] = palette[label]
            cv2.putText(
                legend,
                entry.name,
                (line + line // 2, top + line * 3 // 4),
                font,
                scale,
                (255, 255, 255),
                1,
                cv2.LINE_AA,
            )
        return legend[: size_hw[0], : size_hw[1]]
