"""The classes of one image, from all looks at it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from danet_train.config.sections import EvaluationConfig, Normalisation
from danet_train.data.samples.sample import Image
from danet_train.evaluation.upsampling import Rows
from danet_train.evaluation.views import View, looks, network_aligns_corners
from danet_train.evaluation.windows import Size
from danet_train.model.danet import DANet

BAND_VALUES = 2**25
"""Scores of all classes are made for so many values at a time: 128 MiB in float32."""


@torch.inference_mode()
def predict(
    model: DANet,
    image: Image,
    normalisation: Normalisation,
    settings: EvaluationConfig = EvaluationConfig(),  # noqa: B008 - frozen
) -> npt.NDArray[np.uint8]:
    """Train ids of one image.

    mmsegmentation's way: a window's logits are averaged where windows overlap; each view (a scale, mirrored
    or not) is resized to the image, and several views are averaged after a softmax. The authors' way: exp of
    a window's logits (plus those of its mirror image) is averaged, resized to the image, and added up over
    the scales.

    Beside the network's own needs, memory holds the logits of all views at stride 8 and a few bands of
    ``BAND_VALUES`` scores, whatever the number of classes and the size. With 150 classes 540 MiB were seen
    for twelve views at 1024x2048, where the scores alone would be 1.2 GB a copy, and 660 MiB for the authors'
    way.

    Args:
        model: In eval mode.
        image: (H, W, 3) uint8 BGR.
        normalisation: That the model was trained with.
        settings: How to look; the default is the whole image once.

    Returns:
        (H, W) uint8 class indices.
    """
    size_hw = (image.shape[0], image.shape[1])
    views = list(looks(model, image, normalisation, settings))
    align = settings.protocol == "authors" or network_aligns_corners(model, size_hw, settings)
    return labels_of(views, size_hw, align_corners=align)


def labels_of(views: Sequence[View], size_hw: Size, *, align_corners: bool) -> npt.NDArray[np.uint8]:
    """(H, W) uint8 class indices of an image of ``size_hw``, from all looks at it, band by band.

    Args:
        views: One at least, all of the same protocol.
        size_hw: Of the image.
        align_corners: How the views are resized to the image.
    """
    height, width = size_hw
    labels = np.empty(size_hw, np.uint8)
    band = _band_height(views, height, width)
    for first in range(0, height, band):
        rows = Rows(first, min(first + band, height))
        scores = None
        for view in views:
            said = view.image_rows(rows, size_hw, align_corners=align_corners)
            if len(views) > 1 and not view.exponential:
                said = said.softmax(dim=0)
            scores = said if scores is None else scores.add_(said)
        if scores is not None:
            labels[rows.first : rows.last] = scores.argmax(dim=0).to(torch.uint8).cpu().numpy()
    return labels


def _band_height(views: Sequence[View], height: int, width: int) -> int:
    """Rows of the image for which no view has more than ``BAND_VALUES`` scores."""
    classes = views[0].logits.shape[1]
    pixels = max(height * width, *(view.size_hw[0] * view.size_hw[1] for view in views))
    return max(1, BAND_VALUES * height // (classes * pixels))
