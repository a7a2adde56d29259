"""Predict the classes of one image, from all its test-time augmentations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from danet_train.config.sections import EvaluationConfig, Normalisation
from danet_train.data.samples.sample import Image
from danet_train.evaluation.test_time_augmentation import (
    AugmentationLogits,
    augmentations,
    network_aligns_corners,
)
from danet_train.evaluation.upsampling import Rows
from danet_train.evaluation.windows import Size
from danet_train.model.danet import DANet

BAND_VALUES = 2**25
"""Number of scores that are computed at a time, over all classes: 128 MiB in float32."""


@torch.inference_mode()
def predict(
    model: DANet,
    image: Image,
    normalisation: Normalisation,
    settings: EvaluationConfig = EvaluationConfig(),  # noqa: B008 - frozen
) -> npt.NDArray[np.uint8]:
    """Return the train ids of one image.

    mmsegmentation's way: a window's logits are averaged where windows overlap; each augmentation (a
    scale, mirrored or not) is resized to the image, and several are averaged after a softmax. The authors'
    way: exp of a window's logits (plus those of its mirror image) is averaged, resized to the image, and
    added up over the scales.

    Beside the network's own needs, memory holds the logits of all augmentations at stride 8 and a few
    bands of ``BAND_VALUES`` scores, whatever the number of classes and the size. With 150 classes 540 MiB
    were measured for twelve augmentations at 1024x2048, where the scores alone would be 1.2 GB a copy, and
    660 MiB for the authors' way.

    Args:
        model: In eval mode.
        image: (H, W, 3) uint8 BGR.
        normalisation: The normalisation that the model was trained with.
        settings: Scales, windows and mirroring; the default is the whole image once.

    Returns:
        (H, W) uint8 class indices.
    """
    size_hw = (image.shape[0], image.shape[1])
    logits = list(augmentations(model, image, normalisation, settings))
    align = settings.protocol == "authors" or network_aligns_corners(model, size_hw, settings)
    return labels_of(logits, size_hw, align_corners=align)


def labels_of(
    augmentation_logits: Sequence[AugmentationLogits], size_hw: Size, *, align_corners: bool
) -> npt.NDArray[np.uint8]:
    """Return (H, W) uint8 class indices of an image, from all its augmentations, band by band.

    Args:
        augmentation_logits: At least one, all of the same protocol.
        size_hw: Size of the image.
        align_corners: Whether they are resized to the image with aligned corners.
    """
    height, width = size_hw
    labels = np.empty(size_hw, np.uint8)
    band = _band_height(augmentation_logits, height, width)
    for first in range(0, height, band):
        rows = Rows(first, min(first + band, height))
        scores = None
        for one in augmentation_logits:
            band_scores = one.image_rows(rows, size_hw, align_corners=align_corners)
            if len(augmentation_logits) > 1 and not one.exponential:
                band_scores = band_scores.softmax(dim=0)
            scores = band_scores if scores is None else scores.add_(band_scores)
        if scores is not None:
            labels[rows.first : rows.last] = scores.argmax(dim=0).to(torch.uint8).cpu().numpy()
    return labels


def _band_height(augmentation_logits: Sequence[AugmentationLogits], height: int, width: int) -> int:
    """Return the rows of the image for which no augmentation has more than ``BAND_VALUES`` scores."""
    classes = augmentation_logits[0].logits.shape[1]
    pixels = max(height * width, *(one.size_hw[0] * one.size_hw[1] for one in augmentation_logits))
    return max(1, BAND_VALUES * height // (classes * pixels))
