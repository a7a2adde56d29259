"""Smooth borders for labels that a model gave at a smaller size than the frame's."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from danet_runtime.frames.arrays import UInt8Array


class Smoothing:
    """Brings labels of a smaller size to the frame's by the shares of the labels around each pixel.

    The share of each label is interpolated (bilinear), and the label with the largest share is taken: what
    nearest neighbour gives, with the corners of its blocks cut. No label comes up that is not there.

    Args:
        cv2: OpenCV's module.
        size_hw: Height and width of the frames.
    """

    def __init__(self, cv2: ModuleType, size_hw: tuple[int, int]) -> None:
        self._cv2 = cv2
        self._size_hw = size_hw
        self._smooth, self._share, self._most, self._larger = (np.empty(size_hw, np.uint8) for _ in range(4))

    def __call__(self, labels: UInt8Array, given_hw: tuple[int, int]) -> UInt8Array:
        """The labels with smooth borders.

        Args:
            labels: (H, W) uint8 of the frame's size, brought there by nearest neighbour; only read.
            given_hw: Height and width at which the model gave them.

        Returns:
            (H, W) uint8, to be read until the next call; ``labels`` where the model's size is no smaller.
        """
        height, width = self._size_hw
        if given_hw[0] >= height and given_hw[1] >= width:
            return labels
        cv2 = self._cv2
        shown_hw = min(given_hw[0], height), min(given_hw[1], width)
        # The pixel at the centre of each block has the block's label.
        rows, columns = (
            ((np.arange(few) + 0.5) * many / few).astype(int)
            for few, many in zip(shown_hw, self._size_hw, strict=True)
        )
        given = np.ascontiguousarray(labels[rows][:, columns])
        self._most.fill(0)
        self._smooth.fill(255)
        for label in np.flatnonzero(np.bincount(given.ravel(), minlength=256)):
            alone = cv2.inRange(given, int(label), int(label))
            cv2.resize(alone, (width, height), dst=self._share, interpolation=cv2.INTER_LINEAR)
            cv2.compare(self._share, self._most, cv2.CMP_GT, dst=self._larger)
            self._smooth[self._larger != 0] = label
            cv2.max(self._share, self._most, dst=self._most)
        return self._smooth
