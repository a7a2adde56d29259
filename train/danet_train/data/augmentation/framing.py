"""Resizing, cropping and padding an image and its labels together."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import PIL.Image

from danet_train.classes import IGNORE
from danet_train.data.samples.sample import Image


class Framed(NamedTuple):
    """An image (h, w, 3) uint8 BGR, and its labels (h, w) uint8."""

    image: Image
    label: Image

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.label.shape[0], self.label.shape[1]

    def resized(self, size_hw: tuple[int, int]) -> Framed:
        """Resize by OpenCV, as mmcv does: bilinear without smoothing, the labels to the nearest."""
        if size_hw == self.size_hw:
            return self
        size_wh = size_hw[::-1]
        return Framed(
            np.asarray(cv2.resize(self.image, size_wh, interpolation=cv2.INTER_LINEAR), np.uint8),
            np.asarray(cv2.resize(self.label, size_wh, interpolation=cv2.INTER_NEAREST), np.uint8),
        )

    def resized_smoothly(self, size_hw: tuple[int, int]) -> Framed:
        """Resize by Pillow, as the authors do: bilinear, smoothed when shrunk, the labels to the nearest."""
        if size_hw == self.size_hw:
            return self
        size_wh, how = size_hw[::-1], PIL.Image.Resampling
        return Framed(
            np.asarray(PIL.Image.fromarray(self.image).resize(size_wh, how.BILINEAR), np.uint8),
            np.asarray(PIL.Image.fromarray(self.label).resize(size_wh, how.NEAREST), np.uint8),
        )

    def padded(self, size_hw: tuple[int, int], fill_bgr: tuple[float, ...]) -> Framed:
        """Pad to at least ``size_hw``, below and to the right, with ``fill_bgr`` and ignored labels."""
        below, right = (max(0, wanted - had) for wanted, had in zip(size_hw, self.size_hw, strict=True))
        if not below and not right:
            return self
        border, fill = cv2.BORDER_CONSTANT, [round(value) for value in fill_bgr]
        return Framed(
            np.asarray(cv2.copyMakeBorder(self.image, 0, below, 0, right, border, value=fill), np.uint8),
            np.asarray(cv2.copyMakeBorder(self.label, 0, below, 0, right, border, value=[IGNORE]), np.uint8),
        )

    def cropped(
        self, crop_hw: tuple[int, int], max_ratio: float, draws: int, rng: np.random.Generator
    ) -> Framed:
        """Cut out a random window of at most ``crop_hw``.

        A window that holds one class alone, or of which a class fills ``max_ratio`` of the pixels that are
        not ignored, is drawn again; the last of ``draws`` is taken whatever it holds. A ratio of 1 takes the
        first.
        """
        (height, width), window = crop_hw, (slice(0), slice(0))
        for _ in range(draws if max_ratio < 1 else 1):
            top = int(rng.integers(max(0, self.size_hw[0] - height) + 1))
            left = int(rng.integers(max(0, self.size_hw[1] - width) + 1))
            window = (slice(top, top + height), slice(left, left + width))
            if max_ratio < 1:
                counts = cv2.calcHist([self.label[window]], [0], None, [256], [0, 256])[:IGNORE]
                if (counts > 0).sum() > 1 and counts.max() < max_ratio * counts.sum():
                    break
        return Framed(self.image[window], self.label[window])

    def mirrored(self) -> Framed:
        """Return it with left and right exchanged."""
        return Framed(self.image[:, ::-1], self.label[:, ::-1])


def size_within(size_hw: tuple[int, int], base_hw: tuple[int, int], ratio: float) -> tuple[int, int]:
    """Return the largest size of the proportions of ``size_hw`` within ``base_hw`` times ``ratio``.

    mmcv's ``RandomResize`` with ``rescale_size``: the base is first cut to whole pixels, its long side bounds
    the image's long side whichever way each lies, and the result is rounded half up.
    """
    bounds = [int(side * ratio) for side in base_hw]
    factor = min(max(bounds) / max(size_hw), min(bounds) / min(size_hw))
    height, width = (max(1, int(side * factor + 0.5)) for side in size_hw)
    return height, width
