"""Augment a sample for training, in one of three orders: mmsegmentation's, the authors', or the plain one."""

from __future__ import annotations

import numpy as np

from danet_train.config.sections import AugmentationConfig
from danet_train.data.augmentation.color import distort, distort_in_fixed_order
from danet_train.data.augmentation.framing import Framed, size_within
from danet_train.data.samples.sample import Sample

_DRAWS = 11
"""mmsegmentation checks a crop ten times and takes the one that it draws after the last check."""
_PLAIN_DRAWS = 10


def augment(
    sample: Sample, config: AugmentationConfig, fill_bgr: tuple[float, ...], rng: np.random.Generator
) -> Sample:
    """Return ``sample`` augmented at random, at most ``config.crop_hw`` large; the input is not changed.

    Args:
        sample: Image and labels.
        config: The order, the ranges and the probabilities.
        fill_bgr: Color of what lies outside the image where the order pads before the crop; its label is
            255. mmsegmentation pads what is normalised already: its sample may be smaller than the crop.
        rng: Random generator; the same state gives the same sample.
    """
    framed = Framed(sample.image, sample.label)
    if config.kind == "mmsegmentation":
        framed = _as_mmsegmentation(framed, config, rng)
    elif config.kind == "authors":
        framed = _as_the_authors(framed, config, fill_bgr, rng)
    else:
        framed = _plainly(framed, config, fill_bgr, rng)
    return Sample(np.ascontiguousarray(framed.image), np.ascontiguousarray(framed.label), sample.name)


def _as_mmsegmentation(framed: Framed, config: AugmentationConfig, rng: np.random.Generator) -> Framed:
    """RandomResize, RandomCrop, RandomFlip, PhotoMetricDistortion."""
    base_hw = config.base_hw or framed.size_hw
    framed = framed.resized(size_within(framed.size_hw, base_hw, float(rng.uniform(*config.scale))))
    framed = framed.cropped(config.crop_hw, config.crop_max_ratio, _DRAWS, rng)
    if rng.random() < config.flip:
        framed = framed.mirrored()
    return framed._replace(image=distort(np.ascontiguousarray(framed.image), config, rng))


def _as_the_authors(
    framed: Framed, config: AugmentationConfig, fill_bgr: tuple[float, ...], rng: np.random.Generator
) -> Framed:
    """Flip, resize by the short side to a whole number of pixels, pad, crop."""
    if rng.random() < config.flip:
        framed = framed.mirrored()
    base = min(config.base_hw or framed.size_hw)
    low, high = (int(base * factor) for factor in config.scale)
    short, shorter = int(rng.integers(low, high + 1)), min(framed.size_hw)
    height, width = (max(1, side * short // shorter) for side in framed.size_hw)
    contiguous = Framed(np.ascontiguousarray(framed.image), np.ascontiguousarray(framed.label))
    framed = contiguous.resized_smoothly((height, width)).padded(config.crop_hw, fill_bgr)
    framed = framed.cropped(config.crop_hw, config.crop_max_ratio, _DRAWS, rng)
    return framed._replace(image=distort(np.ascontiguousarray(framed.image), config, rng))


def _plainly(
    framed: Framed, config: AugmentationConfig, fill_bgr: tuple[float, ...], rng: np.random.Generator
) -> Framed:
    """Resize, pad, crop, flip, colors in a fixed order."""
    factor = float(rng.uniform(*config.scale))
    height, width = (max(1, round(side * factor)) for side in framed.size_hw)
    framed = framed.resized((height, width)).padded(config.crop_hw, fill_bgr)
    framed = framed.cropped(config.crop_hw, config.crop_max_ratio, _PLAIN_DRAWS, rng)
    if rng.random() < config.flip:
        framed = framed.mirrored()
    image = distort_in_fixed_order(np.ascontiguousarray(framed.image), config, rng)
    return framed._replace(image=image)
