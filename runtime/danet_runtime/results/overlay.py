"""A picture of what the model saw: the classes' colors over the frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from danet_runtime.bundle.manifest import SegmentationClass
from danet_runtime.dependencies import opencv
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.color import to_bgr
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.results.head_up import HeadUp
from danet_runtime.results.legend import Legend
from danet_runtime.results.palettes import palette_of
from danet_runtime.results.regions import Borders, RegionNames
from danet_runtime.results.smoothing import Smoothing
from danet_runtime.results.style import OverlayStyle

if TYPE_CHECKING:
    from danet_runtime.results.result import Result


class Overlay:
    """Blends labels over frames of one size, in buffers that are allocated once.

    Args:
        size_hw: Height and width of the frames.
        classes: The bundle's classes.
        style: How it is drawn.
        pixels: Format of the frames; other than BGR they are converted before anything is drawn.

    Raises:
        MissingDependencyError: OpenCV is not installed.
    """

    def __init__(
        self,
        size_hw: tuple[int, int],
        classes: Sequence[SegmentationClass],
        style: OverlayStyle | None = None,
        *,
        pixels: Pixels = BGR,
    ) -> None:
        cv2 = self._cv2 = opencv("drawing overlays")
        style = style or OverlayStyle()
        palette = palette_of(classes, style.palette)
        names = [entry.name for entry in classes]
        self._alpha = style.alpha
        self._pixels = pixels
        self._bgr = None if pixels.format == "bgr" else np.empty((*size_hw, 3), np.uint8)
        self._class_count = len(classes)
        self._colors = np.ascontiguousarray(palette[:, None, :])  # (256, 1, 3), as applyColorMap takes it
        self._colored = np.empty((*size_hw, 3), np.uint8)
        self._unlabelled = np.empty(size_hw, np.uint8)
        self._smoothing = Smoothing(cv2, size_hw) if style.upsample == "bilinear" else None
        self._borders = Borders(cv2, size_hw) if style.contours else None
        self._names = RegionNames(cv2, size_hw, names) if style.names else None
        self._legend = Legend(cv2, size_hw, names, palette) if style.legend else None
        self._head_up = HeadUp(cv2, size_hw) if style.head_up else None

    def draw_into(self, result: Result, out: UInt8Array) -> None:
        """Write the overlay of one result.

        Args:
            result: A result with frames of this size and format; only read.
            out: As for :meth:`blend_into`.
        """
        labels, given_hw = result.labels, result.labelling.size_hw
        if self._smoothing is not None and given_hw is not None:
            labels = self._smoothing(labels, given_hw)
        self.blend_into(result.frame, labels, out)
        if self._head_up is not None:
            self._head_up.draw_into(result, out)

    def blend_into(self, frame: UInt8Array, labels: UInt8Array, out: UInt8Array) -> None:
        """Write the overlay of one frame.

        Pixels whose label belongs to no class (255) show the frame unchanged.

        Args:
            frame: uint8 in the layout of ``pixels``, (H, W, 3) for BGR; only read.
            labels: (H, W) uint8; only read.
            out: (H, W, 3) uint8 BGR, C-contiguous, owned by the caller; overwritten. May be ``frame`` itself
                only where every pixel has a class.
        """
        cv2 = self._cv2
        if self._bgr is not None:
            frame = to_bgr(frame, self._pixels, self._bgr)
        cv2.applyColorMap(labels, self._colors, dst=self._colored)
        cv2.addWeighted(frame, 1.0 - self._alpha, self._colored, self._alpha, 0.0, dst=out)
        if self._borders is not None:
            self._borders.draw_into(labels, self._colored, out)
        cv2.inRange(labels, self._class_count, 255, dst=self._unlabelled)
        if cv2.countNonZero(self._unlabelled):
            cv2.copyTo(frame, self._unlabelled, out)
        if self._legend is not None:
            self._legend.draw_into(labels, out)
        if self._names is not None:
            corner_hw = self._legend.shown_hw if self._legend is not None else (0, 0)
            line_px = self._head_up.height_px if self._head_up is not None else 0
            self._names.draw_into(labels, out, corner_hw, line_px)
