"""Varying a sample for training: resize, crop, flip, colour; as mmsegmentation does for Cityscapes."""

from __future__ import annotations

import cv2
import numpy as np

from danet_train.classes import IGNORE
from danet_train.data.sample import Image, Sample
from danet_train.training.sections import AugmentationConfig

_CROP_TRIES = 10


def augment(
    sample: Sample, config: AugmentationConfig, fill_bgr: tuple[float, ...], rng: np.random.Generator
) -> Sample:
    """A random view of ``sample`` of the size ``config.crop_hw``; the input is not changed.

    Args:
        sample: Image and labels.
        config: Ranges and probabilities.
        fill_bgr: Colour of what lies outside the image, so that it is 0 after normalisation; its label
            is 255.
        rng: Decides; the same state gives the same view.
    """
    image, label = _resize(sample.image, sample.label, float(rng.uniform(*config.scale)))
    image, label = _crop(image, label, config, fill_bgr, rng)
    if rng.random() < config.flip:
        image, label = image[:, ::-1], label[:, ::-1]
    image = _distort(np.ascontiguousarray(image), config, rng)
    return Sample(image, np.ascontiguousarray(label), sample.name)


def _resize(image: Image, label: Image, factor: float) -> tuple[Image, Image]:
    if factor == 1:
        return image, label
    size_wh = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    resized = cv2.resize(image, size_wh, interpolation=cv2.INTER_LINEAR)
    return (
        np.asarray(resized, np.uint8),
        np.asarray(cv2.resize(label, size_wh, interpolation=cv2.INTER_NEAREST), np.uint8),
    )


def _crop(
    image: Image,
    label: Image,
    config: AugmentationConfig,
    fill_bgr: tuple[float, ...],
    rng: np.random.Generator,
) -> tuple[Image, Image]:
    height, width = config.crop_hw
    below, right = max(0, height - image.shape[0]), max(0, width - image.shape[1])
    if below or right:
        fill = [round(value) for value in fill_bgr]
        image = np.asarray(
            cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=fill), np.uint8
        )
        label = np.asarray(
            cv2.copyMakeBorder(label, 0, below, 0, right, cv2.BORDER_CONSTANT, value=[IGNORE]), np.uint8
        )
    window = (slice(0, height), slice(0, width))
    for _ in range(_CROP_TRIES if config.crop_max_ratio < 1 else 1):
        top = int(rng.integers(image.shape[0] - height + 1))
        left = int(rng.integers(image.shape[1] - width + 1))
        window = (slice(top, top + height), slice(left, left + width))
        counts = np.bincount(label[window].ravel(), minlength=256)[:IGNORE]
        if (counts > 0).sum() > 1 and counts.max() < config.crop_max_ratio * counts.sum():
            break
    return image[window], label[window]


def _distort(image: Image, config: AugmentationConfig, rng: np.random.Generator) -> Image:
    """Brightness, contrast, saturation and hue, each with its probability."""

    def chosen() -> bool:
        return bool(rng.random() < config.photometric)

    if chosen():
        shift = float(rng.uniform(-config.brightness, config.brightness))
        image = np.clip(image.astype(np.float32) + shift, 0, 255).astype(np.uint8)
    if chosen():
        factor = float(rng.uniform(*config.contrast))
        image = np.clip(image.astype(np.float32) * factor, 0, 255).astype(np.uint8)
    saturate, turn = chosen(), chosen()
    if saturate or turn:
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.float32)  # OpenCV keeps half degrees of hue
        if saturate:
            hsv[..., 1] = np.clip(hsv[..., 1] * float(rng.uniform(*config.contrast)), 0, 255)
        if turn:
            hsv[..., 0] = np.mod(hsv[..., 0] + rng.uniform(-config.hue_degrees, config.hue_degrees) / 2, 180)
        image = np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR), np.uint8)
    return image
