"""The looks that a network takes at one image: its sizes, mirror images and windows, and their logits."""

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
class View:
    """One look at an image, kept as logits at stride 8: 1/64 of what it becomes.

    Attributes:
        logits: (windows, C, h, w) float32, of the windows' inputs.
        windows: Where each stands on the view.
        window_hw: Of a window's input, padding included.
        size_hw: Of the view without padding.
        mirrored: Whether the view is the image's mirror image.
        align_corners: How the windows' logits are upsampled.
        exponential: Whether windows overlap as the mean of exp(logits) (the authors), not of logits.
    """

    logits: Tensor
    windows: tuple[Window, ...]
    window_hw: Size
    size_hw: Size
    mirrored: bool
    align_corners: bool
    exponential: bool

    def rows(self, rows: Rows) -> Tensor:
        """(C, rows, W) of the view, mirrored back: the mean over its windows of logits or exp(logits).

        exp(logits) is float64, since the sum of two logits may well pass the 88 where float32 ends.
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
        """(C, rows, width) of one window, where ``rows`` are the view's."""
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
        """(C, rows, W) of the view resized to the image's ``size_hw``."""
        wanted = source_rows(rows, size_hw[0], self.size_hw[0], align_corners=align_corners)
        return resize_rows(
            self.rows(wanted), wanted, self.size_hw[0], rows, size_hw, align_corners=align_corners
        )


def view_size(size_hw: Size, scale: float, settings: EvaluationConfig) -> Size:
    """The size of an image of ``size_hw`` at ``scale``, rounded as each reference rounds."""
    long, short = max(size_hw), min(size_hw)
    if settings.protocol == "authors":
        target = math.ceil((settings.base_hw[1] if settings.base_hw else long) * scale)
        height, width = (max(1, int(size * target / long + 0.5)) for size in size_hw)
        return height, width
    if settings.base_hw is not None:
        factor = min(int(settings.base_hw[1] * scale) / long, int(settings.base_hw[0] * scale) / short)
    else:  # mmcv rounds both sides, and keeps the proportions within what came of it
        factor = min(int(long * scale + 0.5) / long, int(short * scale + 0.5) / short)
    height, width = (max(1, int(size * factor + 0.5)) for size in size_hw)
    return height, width


def looks(
    model: DANet, image: Image, normalisation: Normalisation, settings: EvaluationConfig
) -> Iterator[View]:
    """The views of ``image`` that ``settings`` ask for, one after the other.

    Args:
        model: In eval mode.
        image: (H, W, 3) uint8 BGR.
        normalisation: That the model was trained with.
        settings: Sizes, windows and mirror images.
    """
    size_hw = (image.shape[0], image.shape[1])
    align = network_aligns_corners(model, size_hw, settings)
    device = next(model.parameters()).device
    for scale in settings.scales:
        pixels = _resized(image, view_size(size_hw, scale, settings), normalisation, settings).to(device)
        if settings.protocol == "authors":
            yield _padded_view(model, pixels, normalisation, settings, align_corners=align)
            continue
        yield _view(model, pixels, settings, mirrored=False, align_corners=align)
        if settings.flip:
            yield _view(model, pixels.flip(-1), settings, mirrored=True, align_corners=align)


def _batches(windows: list[Window], size: int) -> list[list[Window]]:
    return [windows[first : first + size] for first in range(0, len(windows), size)]


def network_aligns_corners(model: DANet, size_hw: Size, settings: EvaluationConfig) -> bool:
    """One rule for all views of an image of ``size_hw``: that of a window, or of the image at scale 1."""
    seen = settings.window_hw if settings.mode == "slide" else view_size(size_hw, 1.0, settings)
    return aligns_corners(model.config.align_corners, seen)


def _resized(image: Image, size_hw: Size, normalisation: Normalisation, settings: EvaluationConfig) -> Tensor:
    """(3, h, w) float32 normalised RGB."""
    if size_hw == image.shape[:2]:
        return normalise(image, normalisation)
    if settings.protocol == "authors":  # after the normalisation, with aligned corners
        pixels = normalise(image, normalisation)
        return F.interpolate(pixels[None], size=size_hw, mode="bilinear", align_corners=True)[0]
    resized = cv2.resize(image, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_LINEAR)
    return normalise(np.asarray(resized, np.uint8), normalisation)


def _view(
    model: DANet, pixels: Tensor, settings: EvaluationConfig, *, mirrored: bool, align_corners: bool
) -> View:
    size_hw = (pixels.shape[1], pixels.shape[2])
    window_hw = settings.window_hw if settings.mode == "slide" else size_hw
    stride_hw = settings.stride if settings.mode == "slide" else size_hw
    windows = windows_inside(size_hw, window_hw, stride_hw)
    logits = [
        model(torch.stack([pixels[:, w.top : w.bottom, w.left : w.right] for w in some]))
        for some in _batches(windows, settings.windows_at_once)
    ]
    seen = (min(window_hw[0], size_hw[0]), min(window_hw[1], size_hw[1]))
    return View(torch.cat(logits), tuple(windows), seen, size_hw, mirrored, align_corners, exponential=False)


def _padded_view(
    model: DANet,
    pixels: Tensor,
    normalisation: Normalisation,
    settings: EvaluationConfig,
    *,
    align_corners: bool,
) -> View:
    """The authors' way: black around the image up to a window, and each window mirrored by itself."""
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
        said = model(inputs)
        logits.append(said + model(inputs.flip(-1)).flip(-1) if settings.flip else said)
    return View(torch.cat(logits), tuple(windows), window_hw, size_hw, False, align_corners, exponential=True)
