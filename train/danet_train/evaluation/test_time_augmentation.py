"""Test-time augmentation: one image at several sizes, mirrored, in windows, and the logits of each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from danet_train.config.sections import EvaluationConfig, Normalisation
from danet_train.data.samples.sample import Image
from danet_train.data.torch_samples import normalise
from danet_train.evaluation.upsampling import Rows, aligns_corners, resize_rows, source_rows
from danet_train.evaluation.windows import Size, Window, windows_inside, windows_over
from danet_train.model.danet import DANet


@dataclass(frozen=True)
class AugmentationLogits:
    """The logits of one augmentation of an image (a scale, mirrored or not), kept at stride 8.

    That is 1/64 of the memory that they take at the size of the image.

    Attributes:
        logits: (windows, C, h, w) float32, one row for each window.
        windows: The position of each window on the augmented image.
        window_hw: Size of a window, padding included.
        size_hw: Size of the augmented image without padding.
        mirrored: Whether the image was mirrored.
        align_corners: Whether the logits are upsampled with aligned corners.
        exponential: Whether overlapping windows are averaged as exp(logits) (the authors), not as logits.
    """

    logits: Tensor
    windows: tuple[Window, ...]
    window_hw: Size
    size_hw: Size
    mirrored: bool
    align_corners: bool
    exponential: bool

    def rows(self, rows: Rows) -> Tensor:
        """Return (C, rows, W), mirrored back: the mean over the windows of logits or exp(logits).

        exp(logits) is float64, since the sum of two logits may pass 88, where exp overflows float32.
        """
        if len(self.windows) == 1:
            mean = self._window_rows(0, rows)[..., : self.size_hw[1]]
            return mean.flip(-1) if self.mirrored else mean
        height, width = rows.last - rows.first, max(window.right for window in self.windows)
        kind = torch.float64 if self.exponential else self.logits.dtype
        total = torch.zeros((self.logits.shape[1], height, width), dtype=kind, device=self.logits.device)
        count = torch.zeros((height, width), dtype=kind, device=self.logits.device)
        for index, window in enumerate(self.windows):
            top, bottom = max(rows.first, window.top), min(rows.last, window.bottom)
            if top < bottom:
                place = (slice(top - rows.first, bottom - rows.first), slice(window.left, window.right))
                total[(slice(None), *place)] += self._window_rows(index, Rows(top, bottom))
                count[place] += 1
        mean = total.div_(count)[..., : self.size_hw[1]]
        return mean.flip(-1) if self.mirrored else mean

    def _window_rows(self, index: int, rows: Rows) -> Tensor:
        """Return (C, rows, width) of one window; ``rows`` count from the top of the augmented image."""
        window, logits = self.windows[index], self.logits[index]
        full = resize_rows(
            logits,
            Rows(0, logits.shape[1]),
            logits.shape[1],
            Rows(rows.first - window.top, rows.last - window.top),
            self.window_hw,
            align_corners=self.align_corners,
        )[..., : window.right - window.left]
        return full.double().exp_() if self.exponential else full

    def image_rows(self, rows: Rows, size_hw: Size, *, align_corners: bool) -> Tensor:
        """Return (C, rows, W), resized to the ``size_hw`` of the image."""
        wanted = source_rows(rows, size_hw[0], self.size_hw[0], align_corners=align_corners)
        return resize_rows(
            self.rows(wanted), wanted, self.size_hw[0], rows, size_hw, align_corners=align_corners
        )


def scaled_size(size_hw: Size, scale: float, settings: EvaluationConfig) -> Size:
    """Return the size of an image of ``size_hw`` at ``scale``, rounded as each reference rounds."""
    long, short = max(size_hw), min(size_hw)
    if settings.protocol == "authors":
        target = math.ceil((settings.base_hw[1] if settings.base_hw else long) * scale)
        height, width = (max(1, int(size * target / long + 0.5)) for size in size_hw)
        return height, width
    if settings.base_hw is not None:
        factor = min(int(settings.base_hw[1] * scale) / long, int(settings.base_hw[0] * scale) / short)
    else:  # mmcv rounds both sides, and keeps the proportions within the rounded size
        factor = min(int(long * scale + 0.5) / long, int(short * scale + 0.5) / short)
    height, width = (max(1, int(size * factor + 0.5)) for size in size_hw)
    return height, width


def augmentations(
    model: DANet, image: Image, normalisation: Normalisation, settings: EvaluationConfig
) -> Iterator[AugmentationLogits]:
    """Yield the logits of each augmentation of ``image`` that ``settings`` ask for.

    Args:
        model: In eval mode.
        image: (H, W, 3) uint8 BGR.
        normalisation: The normalisation that the model was trained with.
        settings: Scales, windows and mirroring.
    """
    size_hw = (image.shape[0], image.shape[1])
    align = network_aligns_corners(model, size_hw, settings)
    device = next(model.parameters()).device
    for scale in settings.scales:
        pixels = _resized(image, scaled_size(size_hw, scale, settings), normalisation, settings).to(device)
        if settings.protocol == "authors":
            yield _padded_logits(model, pixels, normalisation, settings, align_corners=align)
            continue
        yield _plain_logits(model, pixels, settings, mirrored=False, align_corners=align)
        if settings.flip:
            yield _plain_logits(model, pixels.flip(-1), settings, mirrored=True, align_corners=align)


def _batches(windows: list[Window], size: int) -> list[list[Window]]:
    return [windows[first : first + size] for first in range(0, len(windows), size)]


def network_aligns_corners(model: DANet, size_hw: Size, settings: EvaluationConfig) -> bool:
    """Return the rule for all augmentations of an image: that of a window, or of the image at scale 1."""
    input_hw = settings.window_hw if settings.mode == "slide" else scaled_size(size_hw, 1.0, settings)
    return aligns_corners(model.config.align_corners, input_hw)


def _resized(image: Image, size_hw: Size, normalisation: Normalisation, settings: EvaluationConfig) -> Tensor:
    """Return (3, h, w) float32 normalised RGB."""
    if size_hw == image.shape[:2]:
        return normalise(image, normalisation)
    if settings.protocol == "authors":  # after the normalisation, with aligned corners
        pixels = normalise(image, normalisation)
        return F.interpolate(pixels[None], size=size_hw, mode="bilinear", align_corners=True)[0]
    resized = cv2.resize(image, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_LINEAR)
    return normalise(np.asarray(resized, np.uint8), normalisation)


def _plain_logits(
    model: DANet, pixels: Tensor, settings: EvaluationConfig, *, mirrored: bool, align_corners: bool
) -> AugmentationLogits:
    size_hw = (pixels.shape[1], pixels.shape[2])
    window_hw = settings.window_hw if settings.mode == "slide" else size_hw
    stride_hw = settings.stride if settings.mode == "slide" else size_hw
    windows = windows_inside(size_hw, window_hw, stride_hw)
    logits = [
        model(torch.stack([pixels[:, w.top : w.bottom, w.left : w.right] for w in some]))
        for some in _batches(windows, settings.windows_at_once)
    ]
    input_hw = (min(window_hw[0], size_hw[0]), min(window_hw[1], size_hw[1]))
    return AugmentationLogits(
        torch.cat(logits), tuple(windows), input_hw, size_hw, mirrored, align_corners, exponential=False
    )


def _padded_logits(
    model: DANet,
    pixels: Tensor,
    normalisation: Normalisation,
    settings: EvaluationConfig,
    *,
    align_corners: bool,
) -> AugmentationLogits:
    """Compute the authors' way: pad with black up to a window, and mirror each window by itself."""
    size_hw = (pixels.shape[1], pixels.shape[2])
    window_hw = settings.window_hw if settings.mode == "slide" else size_hw
    stride_hw = settings.stride if settings.mode == "slide" else size_hw
    padded = (max(size_hw[0], window_hw[0]), max(size_hw[1], window_hw[1]))
    windows = windows_over(padded, window_hw, stride_hw)
    black = normalise(np.zeros((1, 1, 3), np.uint8), normalisation).to(pixels)  # (3, 1, 1)
    logits = []
    for some in _batches(windows, settings.windows_at_once):
        inputs = black.expand(len(some), -1, *window_hw).clone()
        for target, w in zip(inputs, some, strict=True):
            cut = pixels[:, w.top : w.bottom, w.left : w.right]
            target[:, : cut.shape[1], : cut.shape[2]] = cut
        output = model(inputs)
        logits.append(output + model(inputs.flip(-1)).flip(-1) if settings.flip else output)
    return AugmentationLogits(
        torch.cat(logits), tuple(windows), window_hw, size_hw, False, align_corners, exponential=True
    )
