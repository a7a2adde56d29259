"""Counting how often, and where, two sides give different labels to the same pixels.

Memory does not grow with the frames: what is kept is one matrix of counts, a name and two numbers a frame,
and the few frames that agree least.
"""

from __future__ import annotations

import heapq
from array import array
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from danet_runtime.bundle.manifest import IGNORE_LABEL, SegmentationClass
from danet_runtime.errors import BackendError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.sources.protocol.source import FrameInfo


@dataclass(frozen=True)
class FrameAgreement:
    """A frame on which the two agree least.

    Attributes:
        info: The frame's number and name.
        agreement: Share of its compared pixels with equal labels.
        frame: (H, W, 3) uint8 BGR.
        labels_a: (H, W) uint8.
        labels_b: (H, W) uint8.
        truth: The ground truth, (H, W) uint8 with 255 where there is none; ``None``: not known.
    """

    info: FrameInfo
    agreement: float
    frame: UInt8Array
    labels_a: UInt8Array
    labels_b: UInt8Array
    truth: UInt8Array | None = None

    @property
    def name(self) -> str:
        """The picture's name, or the frame's number."""
        return self.info.name or f"frame {self.info.id}"


class Confusion(NamedTuple):
    """Pixels to which A gives one class and B another; ``None`` stands for no class (255)."""

    class_a: str | None
    class_b: str | None
    pixels: int
    share: float


class LabelComparison:
    """Counts of labels given by A and B to the same pixels.

    A pixel that has no class (255) in either is left out: padding is not agreement. One that has a class in
    one of the two alone counts as different.

    Args:
        classes: The bundle's classes; a label is a position among them, or 255.
        worst: Number of frames with the least agreement to keep, with their pixels.

    Attributes:
        counts: (C + 1, C + 1) int64, row: label of A, column: label of B; the last is no class.
    """

    def __init__(self, classes: tuple[SegmentationClass, ...], worst: int = 0) -> None:
        self._names = tuple(entry.name for entry in classes)
        self.counts: npt.NDArray[np.int64] = np.zeros((len(classes) + 1,) * 2, np.int64)
        self._frames: list[tuple[int, str | None]] = []
        self._agreements = array("d")
        self._worst_limit = worst
        self._worst: list[tuple[float, int, FrameAgreement]] = []

    def add(self, info: FrameInfo, frame: UInt8Array, labels_a: UInt8Array, labels_b: UInt8Array) -> float:
        """Count one frame.

        Args:
            info: Facts about the frame, such as its id.
            frame: (H, W, 3) uint8 BGR; copied where it is kept.
            labels_a: (H, W) uint8; copied where it is kept.
            labels_b: (H, W) uint8; copied where it is kept.

        Returns:
            Share of its compared pixels with equal labels; not a number where no pixel has a class.

        Raises:
            BackendError: A label is no class of the bundle.
        """
        counts = np.bincount((labels_a.astype(np.uint16).ravel() << 8) | labels_b.ravel(), minlength=65536)
        rows = self._known(counts.reshape(256, 256), "A", info)
        counted = self._known(rows.T, "B", info).T
        counted[-1, -1] = 0
        self.counts += counted
        compared = int(counted.sum())
        agreement = int(np.trace(counted)) / compared if compared else float("nan")
        self._frames.append((info.id, info.name))
        self._agreements.append(agreement)
        if compared and self._worst_limit:
            self._keep(info, agreement, frame, labels_a, labels_b)
        return agreement

    def _known(self, counts: npt.NDArray[np.int64], side: str, info: FrameInfo) -> npt.NDArray[np.int64]:
        """The rows of the classes and, as the last, of 255."""
        unknown = np.flatnonzero(counts[len(self._names) : IGNORE_LABEL].any(axis=1))
        if unknown.size:
            raise BackendError(
                f"{side} gave the label {len(self._names) + int(unknown[0])} on frame {info.id}; the bundle "
                f"has {len(self._names)} classes, and 255 for none: export or build again"
            )
        return np.concatenate([counts[: len(self._names)], counts[IGNORE_LABEL:]])

    def _keep(
        self, info: FrameInfo, agreement: float, frame: UInt8Array, labels_a: UInt8Array, labels_b: UInt8Array
    ) -> None:
        key = (-agreement, -info.id)  # a heap gives its least first: here the best, and of equals the latest
        if len(self._worst) == self._worst_limit and key < self._worst[0][:2]:
            return
        kept = FrameAgreement(info, agreement, frame.copy(), labels_a.copy(), labels_b.copy())
        push = heapq.heappush if len(self._worst) < self._worst_limit else heapq.heapreplace
        push(self._worst, (*key, kept))

    @property
    def frames(self) -> int:
        """Number of frames that were compared."""
        return len(self._frames)

    @property
    def agreement(self) -> float:
        """Share of all compared pixels with equal labels.

        Raises:
            BackendError: No pixel of any frame has a class, so there is nothing to agree on.
        """
        compared = int(self.counts.sum())
        if not compared:
            raise BackendError(
                "neither side gave any pixel a class; nothing was compared: export or build again"
            )
        return int(np.trace(self.counts)) / compared

    def worst(self) -> list[FrameAgreement]:
        """The frames that agree least, the least first; none on which all labels are equal."""
        ordered = sorted(self._worst, key=lambda entry: entry[:2], reverse=True)
        return [kept for _, _, kept in ordered if kept.agreement < 1.0]

    def iou(self) -> dict[str, float | None]:
        """Intersection over union of A's and B's pixels of each class; ``None`` where neither gives it."""
        own = np.diag(self.counts)[:-1]
        union = self.counts.sum(axis=0)[:-1] + self.counts.sum(axis=1)[:-1] - own
        return {
            name: int(both) / int(either) if either else None
            for name, both, either in zip(self._names, own, union, strict=True)
        }

    def confusions(self, limit: int = 10) -> list[Confusion]:
        """The pairs of different classes with the most pixels, the most first."""
        different = self.counts.copy()
        np.fill_diagonal(different, 0)
        compared = int(self.counts.sum())
        names = (*self._names, None)
        found = []
        for index in np.argsort(-different, axis=None, kind="stable")[:limit]:
            row, column = divmod(int(index), len(names))
            if pixels := int(different[row, column]):
                found.append(Confusion(names[row], names[column], pixels, pixels / compared))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        known = np.array([value for value in self._agreements if value == value])  # not the not-a-numbers
        iou = self.iou()
        present = [value for value in iou.values() if value is not None]
        return {
            "frames_compared": self.frames,
            "pixels_compared": int(self.counts.sum()),
            "agreement": {
                "overall": self.agreement,
                "frame_min": float(known.min()),
                "frame_p5": float(np.percentile(known, 5)),
                "frame_median": float(np.median(known)),
            },
            "iou": iou,
            "mean_iou": sum(present) / len(present) if present else None,
            "confusions": [
                {"a": item.class_a, "b": item.class_b, "pixels": item.pixels, "share": item.share}
                for item in self.confusions()
            ],
            "per_frame": [
                {"frame": number, "name": name, "agreement": value if value == value else None}
                for (number, name), value in zip(self._frames, self._agreements, strict=True)
            ],
        }
