"""Distort the colors of an image, by tables of 256 values."""

from __future__ import annotations

import cv2
import numpy as np

from danet_train.config.sections import AugmentationConfig
from danet_train.data.samples.sample import Image

_LEVELS = np.arange(256, dtype=np.float32)


def distort(image: Image, config: AugmentationConfig, rng: np.random.Generator) -> Image:
    """Distort brightness, contrast, saturation and hue as mmsegmentation's ``PhotoMetricDistortion``.

    A fair coin puts contrast before saturation and hue, or after them. Hue turns by whole steps of 2 degrees,
    from ``-hue_degrees`` to the step below ``hue_degrees``. Saturation and hue each go to HSV and back.

    Args:
        image: (h, w, 3) uint8 BGR, not changed.
        config: Each distortion takes place with the probability ``photometric``.
        rng: Decides.
    """

    def chosen() -> bool:
        return bool(rng.random() < config.photometric)

    def contrast(image: Image) -> Image:
        return _by_table(image, _times(float(rng.uniform(*config.contrast)))) if chosen() else image

    if chosen():
        image = _by_table(image, _plus(float(rng.uniform(-config.brightness, config.brightness))))
    contrast_first = bool(rng.integers(2))
    if contrast_first:
        image = contrast(image)
    if chosen():
        image = _in_hsv(image, saturation=_times(float(rng.uniform(*config.contrast))))
    steps = int(config.hue_degrees / 2)  # OpenCV keeps half degrees
    if chosen() and steps:
        turn = int(rng.integers(-steps, steps))
        image = _in_hsv(image, hue=((_LEVELS.astype(np.int64) + turn) % 180).astype(np.uint8))
    if not contrast_first:
        image = contrast(image)
    return image


def distort_in_fixed_order(image: Image, config: AugmentationConfig, rng: np.random.Generator) -> Image:
    """Distort brightness, contrast, saturation, hue, in this order, the last two in one visit to HSV.

    Arguments as for :func:`distort`.
    """

    def chosen() -> bool:
        return bool(rng.random() < config.photometric)

    if chosen():
        image = _by_table(image, _plus(float(rng.uniform(-config.brightness, config.brightness))))
    if chosen():
        image = _by_table(image, _times(float(rng.uniform(*config.contrast))))
    saturate, turn = chosen(), chosen()
    if saturate or turn:
        saturation = _times(float(rng.uniform(*config.contrast))) if saturate else None
        hue = None
        if turn:
            half_degrees = float(rng.uniform(-config.hue_degrees, config.hue_degrees)) / 2
            hue = np.mod(_LEVELS + half_degrees, 180).astype(np.uint8)
        image = _in_hsv(image, saturation=saturation, hue=hue)
    return image


def _plus(shift: float) -> Image:
    return np.asarray(np.clip(_LEVELS + shift, 0, 255), np.uint8)


def _times(factor: float) -> Image:
    return np.asarray(np.clip(_LEVELS * factor, 0, 255), np.uint8)


def _by_table(image: Image, table: Image) -> Image:
    return np.asarray(cv2.LUT(image, table), np.uint8)


def _in_hsv(image: Image, *, saturation: Image | None = None, hue: Image | None = None) -> Image:
    same = _LEVELS.astype(np.uint8)
    tables = np.stack(
        [same if hue is None else hue, same if saturation is None else saturation, same], axis=-1
    )
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), tables[None])
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), np.uint8)
