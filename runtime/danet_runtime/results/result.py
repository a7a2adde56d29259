"""One segmented frame: its labels, what they cover, and pictures of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt

from danet_runtime.bundle.manifest import SegmentationClass
from danet_runtime.errors import UsageError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.color import to_bgr
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.results.encoding import encode_mask, encode_picture, save
from danet_runtime.results.health import HealthState
from danet_runtime.results.overlay import Overlay
from danet_runtime.results.palettes import palette_of
from danet_runtime.results.style import PICTURE_STYLE, OverlayStyle
from danet_runtime.sources.protocol.damage import DamageReason
from danet_runtime.sources.protocol.source import CaptureClock

_BLOCK = 1 << 16  # bincount makes 8 bytes of each label: in blocks, not of a whole mask at once


@dataclass(frozen=True)
class Labelling:
    """How frames are labelled: by which model, with which classes.

    Attributes:
        classes: The bundle's classes; a label is a position in them.
        model: Backend and precision, as in ``onnxruntime:fp32``; empty where it is not known.
        size_hw: Height and width at which the model gives its labels; those of a frame of another size were
            brought to it by nearest neighbour. ``None``: the frame's own size.
    """

    classes: tuple[SegmentationClass, ...] = ()
    model: str = ""
    size_hw: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Result:
    """A frame and its labels.

    What a caller gets from a segmenter, from ``for result in stream`` and from ``stream.latest()`` is the
    caller's own. What a sink gets, and a caller under ``StreamOptions(copy=False)``, are views of arrays that
    the stream uses again: a sink may read them during ``write``, the caller until asking for the next result
    or leaving the ``with`` block; copy what must live longer. The arrays are read-only either way.

    Attributes:
        frame: uint8 as the source gave it, in the layout of ``pixels``: (H, W, 3) where that is BGR.
        labels: (H, W) uint8, positions in ``classes``; 255 where there is none.
        frame_id: The frame's number in its source; it grows, with gaps where frames were dropped.
        capture_time_ns: Time when the frame was captured, on the clock of :mod:`danet_runtime.clock`.
        age_ms: Age of the frame at delivery to whoever holds this result, since ``capture_time_ns``.
        stages_ms: Time spent in ``capture``, ``preprocess``, ``inference`` and ``postprocess``.
        media_time_ms: Position in the file, where the source has one.
        name: Name of the picture, where the source has one.
        source: Name of the camera.
        capture_clock: Source of the capture time: the clock of the sensor or of the stream, or the time of
            arrival.
        late: Whether the deadline was missed, at delivery to whoever holds this result; ``None`` where there
            is none.
        health: State of the stream when inference ended; ``stale`` where a live source's mask is older than
            the stream allows, at delivery to whoever holds this result; never ``ready`` of a damaged frame.
        pixels: Format of the frame.
        damage: Why the frame is not to be trusted, where damaged frames were asked for; else ``None``.
        labelling: How it was labelled: the model and its classes.
        confidence: (H, W) float32, 0..1, how sure the model is of each label; ``None`` where the model does
            not tell, as no model file of this version does.
    """

    frame: UInt8Array
    labels: UInt8Array
    frame_id: int
    capture_time_ns: int
    age_ms: float
    stages_ms: Mapping[str, float]
    media_time_ms: float | None = None
    name: str | None = None
    source: str = "source"
    capture_clock: CaptureClock = "arrival"
    late: bool | None = None
    health: HealthState = "ready"
    pixels: Pixels = BGR
    damage: DamageReason | None = None
    labelling: Labelling = Labelling()
    confidence: npt.NDArray[np.float32] | None = None

    @property
    def classes(self) -> tuple[SegmentationClass, ...]:
        """The classes; a label is a position in them."""
        return self.labelling.classes

    def areas(self) -> dict[str, float]:
        """The share of the frame that each class covers, 0..1, by its name, the largest first.

        Classes without a pixel are left out, and so are pixels without a class: the sum is 1 where each pixel
        has one.
        """
        counts = label_counts(self.labels)
        shares = [(entry.name, int(counts[label])) for label, entry in enumerate(self.classes)]
        shares.sort(key=lambda item: -item[1])
        return {name: count / self.labels.size for name, count in shares if count}

    def bgr(self) -> UInt8Array:
        """The frame as (H, W, 3) uint8 BGR: itself where it is that already, else a new array.

        Raises:
            MissingDependencyError: It must be converted and OpenCV is not installed.
        """
        return to_bgr(self.frame, self.pixels)

    def copy(self) -> Result:
        """The same result in memory of its own, read-only."""
        frame, labels = self.frame.copy(), self.labels.copy()
        return replace(self, frame=read_only(frame), labels=read_only(labels))

    def overlay(
        self, style: OverlayStyle = PICTURE_STYLE, *, alpha: float | None = None, legend: bool | None = None
    ) -> UInt8Array:
        """The classes' colors over the frame.

        Args:
            style: How it is drawn; by default with a legend.
            alpha: Share of the color, 0..1; by default the style's.
            legend: Whether to draw the names of the classes; by default as the style says.

        Returns:
            (H, W, 3) uint8 BGR, owned by the caller.

        Raises:
            UsageError: ``alpha`` is out of range, or the result has no classes.
            MissingDependencyError: OpenCV is not installed.
        """
        if not self.classes:
            raise UsageError("this result has no classes, so there are no colors; give it a labelling")
        if alpha is not None:
            style = replace(style, alpha=alpha)
        if legend is not None:
            style = replace(style, legend=legend)
        height, width = self.labels.shape
        picture: UInt8Array = np.empty((height, width, 3), np.uint8)
        Overlay((height, width), self.classes, style, pixels=self.pixels).draw_into(self, picture)
        return picture

    def save_mask(self, path: str | PathLike[str]) -> Path:
        """Write the labels as a PNG of 8 bits whose palette holds the classes' colors.

        Programs that know palettes (Pillow, torchvision, GIMP) read the labels and show the colors; OpenCV
        reads the colors, since it has no palettes.

        Args:
            path: The file, ``.png``; one that exists is replaced.

        Returns:
            The path.

        Raises:
            UsageError: It has another suffix, or is no regular file.
            SinkError: It cannot be written.
            MissingDependencyError: OpenCV is not installed.
        """
        file = Path(path)
        if file.suffix.lower() != ".png":
            raise UsageError(f"a mask is a PNG, and {file} ends in {file.suffix!r}; call it {file.stem}.png")
        return save(file, encode_mask(self.labels, palette_of(self.classes)))

    def save_overlay(
        self,
        path: str | PathLike[str],
        style: OverlayStyle = PICTURE_STYLE,
        *,
        alpha: float | None = None,
        legend: bool | None = None,
    ) -> Path:
        """Write :meth:`overlay` as a picture; the suffix chooses PNG, JPEG and so on.

        Raises:
            UsageError: The suffix is of no picture, or as for :meth:`overlay`.
            SinkError: It cannot be written.
            MissingDependencyError: OpenCV is not installed.
        """
        file = Path(path)
        return save(file, encode_picture(self.overlay(style, alpha=alpha, legend=legend), file.suffix))

    def _repr_png_(self) -> bytes | None:
        """The overlay, for a notebook; nothing where there are no classes."""
        return encode_picture(self.overlay(), ".png") if self.classes else None


def read_only(array: UInt8Array) -> UInt8Array:
    """A view of an array that cannot be written through."""
    view = array.view()
    view.flags.writeable = False
    return view


def label_counts(labels: UInt8Array) -> npt.NDArray[np.int64]:
    """How many pixels have each label.

    Args:
        labels: (H, W) uint8, C-contiguous; only read.

    Returns:
        (256,) int64.
    """
    flat = labels.reshape(-1)
    counts = np.zeros(256, np.int64)
    for start in range(0, flat.size, _BLOCK):
        counts += np.bincount(flat[start : start + _BLOCK], minlength=256)
    return counts
