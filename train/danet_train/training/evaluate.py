"""Whole-image evaluation of a network on a dataset."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from danet_train.classes import ClassTable
from danet_train.data.sample import Image, Sample
from danet_train.data.torch_samples import normalise
from danet_train.errors import DataError
from danet_train.metrics import ConfusionMatrix
from danet_train.model.danet import OUTPUT_STRIDE, DANet
from danet_train.normalisation import Normalisation


def aligns_corners(setting: bool | None, size_hw: Sequence[int]) -> bool:
    """How logits for an input of ``size_hw`` are upsampled: as set, or mmsegmentation's rule by size.

    mmsegmentation aligns corners at sizes 8k+1 (769x769) and does not at 8k (512x1024).
    """
    if setting is not None:
        return setting
    return all(size % OUTPUT_STRIDE == 1 for size in size_hw)


@torch.inference_mode()
def predict(model: DANet, image: Image, normalisation: Normalisation) -> npt.NDArray[np.uint8]:
    """Train ids of one image, computed on the whole image at once.

    Args:
        model: In eval mode.
        image: (H, W, 3) uint8 BGR.
        normalisation: That the model was trained with.

    Returns:
        (H, W) uint8 class indices.
    """
    device = next(model.parameters()).device
    size_hw = image.shape[:2]
    logits: Tensor = model(normalise(image, normalisation)[None].to(device))  # (1, C, h, w)
    full = F.interpolate(
        logits,
        size=size_hw,
        mode="bilinear",
        align_corners=aligns_corners(model.config.align_corners, size_hw),
    )
    return np.asarray(full.argmax(dim=1)[0].to(torch.uint8).cpu().numpy(), np.uint8)


def evaluate(
    model: DANet,
    samples: Sequence[Sample],
    normalisation: Normalisation,
    advance: Callable[[], None] = lambda: None,
) -> ConfusionMatrix:
    """Predict every sample and count; ``advance`` is called after each. Leaves the model in eval mode."""
    model.eval()
    matrix = ConfusionMatrix(model.config.num_classes)
    for index in range(len(samples)):
        sample = samples[index]
        matrix.update(predict(model, sample.image, normalisation), sample.label)
        advance()
    return matrix


def check_classes_agree(trained: ClassTable | None, num_classes: int, asked: ClassTable) -> None:
    """Refuse to score a network on classes that it was not trained for.

    Raises:
        DataError: The number of classes differs, or, where the checkpoint names them, the names.
    """
    if len(asked) != num_classes:
        raise DataError(
            f"the checkpoint has {num_classes} classes, the dataset {len(asked)}; give the dataset that it "
            "was trained for, or its class table with --classes"
        )
    if trained is not None and trained.names != asked.names:
        index = next(i for i in range(num_classes) if trained.names[i] != asked.names[i])
        raise DataError(
            f"class {index} is {trained.names[index]!r} in the checkpoint, but {asked.names[index]!r} in the "
            "dataset; give the class table that it was trained with"
        )


def scores_of(matrix: ConfusionMatrix, classes: ClassTable) -> dict[str, Any]:
    """The scores as plain values for JSON: per-class IoU by name (None where absent), mIoU, accuracy."""

    def plain(value: float) -> float | None:
        return None if math.isnan(value) else value

    return {
        "miou": plain(matrix.miou),
        "pixel_accuracy": plain(matrix.pixel_accuracy),
        "iou": {name: plain(float(value)) for name, value in zip(classes.names, matrix.iou(), strict=True)},
    }
