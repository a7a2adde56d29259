"""Compute DANet's attention on one image as arrays, for the picture and the JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from danet_train.config.sections import Normalisation
from danet_train.data.samples.sample import Image
from danet_train.data.torch_samples import normalise
from danet_train.errors import UsageError
from danet_train.evaluation.prediction import labels_of
from danet_train.evaluation.test_time_augmentation import AugmentationLogits
from danet_train.evaluation.upsampling import aligns_corners
from danet_train.evaluation.windows import Size, Window
from danet_train.explain.channels import Channel, channel_weights, describe_channel, separating_channels
from danet_train.explain.positions import attend, attention_rows, entropy
from danet_train.model.danet import DANet

Map = npt.NDArray[np.float32]
PIXELS = 4
"""Number of pixels that are chosen where none is asked for."""
CHANNELS = 2
"""Number of channels that are chosen where none is asked for."""
_MOST_ATTENDED = 5


@dataclass(frozen=True)
class PixelAttention:
    """The position attention of one pixel (eq. 1).

    Attributes:
        x, y: Position of the pixel in the image.
        train_id: The class that the network predicted for the pixel.
        weights: (h, w) float32 at stride 8; they sum to 1.
        entropy: Entropy of the weights in nats.
        most_attended: (x, y, weight) of the middles of the cells with the largest weights, largest first.
    """

    x: int
    y: int
    train_id: int
    weights: Map
    entropy: float
    most_attended: tuple[tuple[int, int, float], ...]


@dataclass(frozen=True)
class ChannelMaps:
    """One channel before and after the channel attention (eq. 4).

    Attributes:
        channel: The channel, and the class that it separates best.
        before, after: (h, w) float32 at stride 8.
        gathers_from: (channel, weight) of the channels with the largest weights in eq. 3, largest first.
    """

    channel: Channel
    before: Map
    after: Map
    gathers_from: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Explanation:
    """The attentions of a network on one image.

    Attributes:
        labels: (H, W) uint8 train ids at the image's size.
        input_hw: The size that the network saw.
        align_corners: Whether maps at stride 8 are upsampled with aligned corners.
        pixels: Position attention of the chosen pixels; empty for a network without position attention.
        channels: The chosen channels; empty for a network without channel attention.
        pam_gamma, cam_gamma: The learned factor on each attention; None without it.
        notes: One sentence for each part that is missing or has no effect.
    """

    labels: Image
    input_hw: Size
    align_corners: bool
    pixels: tuple[PixelAttention, ...]
    channels: tuple[ChannelMaps, ...]
    pam_gamma: float | None
    cam_gamma: float | None
    notes: tuple[str, ...]

    def at_image_size(self, values: Map) -> Map:
        """Upsample (h, w) at stride 8 to (H, W) float32, bilinearly as logits are."""
        tensor = torch.from_numpy(values)[None, None]
        full = F.interpolate(
            tensor, size=self.labels.shape, mode="bilinear", align_corners=self.align_corners
        )
        return np.asarray(full[0, 0].numpy(), np.float32)

    def plain(self) -> dict[str, Any]:
        """Return plain values for JSON, without the maps."""
        return {
            "input_hw": list(self.input_hw),
            "pam_gamma": self.pam_gamma,
            "cam_gamma": self.cam_gamma,
            "notes": list(self.notes),
            "pixels": [
                {
                    "x": pixel.x,
                    "y": pixel.y,
                    "train_id": pixel.train_id,
                    "entropy_nats": pixel.entropy,
                    "entropy_of_uniform_nats": math.log(pixel.weights.size),
                    "most_attended": [{"x": x, "y": y, "weight": w} for x, y, w in pixel.most_attended],
                }
                for pixel in self.pixels
            ],
            "channels": [
                {
                    **maps.channel._asdict(),
                    "gathers_from": [{"channel": c, "weight": w} for c, w in maps.gathers_from],
                }
                for maps in self.channels
            ],
        }


@torch.inference_mode()
def explain_image(
    model: DANet,
    image: Image,
    normalisation: Normalisation,
    *,
    pixels: Sequence[tuple[int, int]] = (),
    channels: Sequence[int] = (),
    size_hw: Size | None = None,
) -> Explanation:
    """Compute the attentions of ``model`` on one image. No tensor of N x N values is made.

    Args:
        model: In eval mode, of any kind that a checkpoint holds.
        image: (H, W, 3) uint8 BGR.
        normalisation: The normalisation that the model was trained with.
        pixels: (x, y) in the image whose position attention is wanted. None given: the innermost pixel of
            each of the ``PIXELS`` classes that fill most of the prediction.
        channels: Channels whose maps are wanted. None given: ``CHANNELS`` of them, chosen by
            :func:`danet_train.explain.channels.separating_channels`.
        size_hw: Size to which the image is resized for the network; None for its own.

    Raises:
        UsageError: A pixel is outside the image, or a channel outside the network's.
    """
    _check_pixels(pixels, image)
    head, parts = model.decode_head, []
    notes, input_hw = [], size_hw or (image.shape[0], image.shape[1])
    align = aligns_corners(model.config.align_corners, input_hw)
    resized = image if input_hw == image.shape[:2] else cv2.resize(image, input_hw[::-1])
    device = next(model.parameters()).device
    _, c4 = model.backbone(normalise(np.asarray(resized, np.uint8), normalisation)[None].to(device))

    pam_input = cam_input = cam_output = None
    if head.pam is not None and head.pam_in_conv is not None and head.pam_out_conv is not None:
        pam_input = head.pam_in_conv(c4)  # (1, C, h, w)
        parts.append(head.pam_out_conv(attend(head.pam, pam_input)))
    if head.cam is not None and head.cam_in_conv is not None and head.cam_out_conv is not None:
        cam_input = head.cam_in_conv(c4)
        cam_output = head.cam(cam_input)
        parts.append(head.cam_out_conv(cam_output))
    if head.convs is not None:
        parts.append(head.convs(c4))
    logits = head.conv_seg(sum(parts[1:], parts[0]))  # (1, classes, h, w)
    whole = (Window(0, input_hw[0], 0, input_hw[1]),)
    augmentation = AugmentationLogits(logits, whole, input_hw, input_hw, False, align, False)
    labels = labels_of([augmentation], (image.shape[0], image.shape[1]), align_corners=align)
    found = logits[0].argmax(dim=0).cpu()  # (h, w)

    where = _Places((found.shape[0], found.shape[1]), (image.shape[0], image.shape[1]), align)
    attentions: tuple[PixelAttention, ...] = ()
    pam_gamma = cam_gamma = None
    if pam_input is None or head.pam is None:
        notes.append("this network has no position attention: there are no maps of pixels")
    else:
        pam_gamma = float(head.pam.gamma.scale)
        chosen = list(pixels) or [where.pixel(*cell) for cell in _innermost(found, PIXELS)]
        rows = attention_rows(head.pam, pam_input, [where.cell(x, y) for x, y in chosen])
        attentions = tuple(
            _pixel_attention(x, y, labels, row, where) for (x, y), row in zip(chosen, rows.cpu(), strict=True)
        )
        if pam_gamma == 0:
            notes.append("PAM's gamma is 0: the network ignores the position attention")
    maps: tuple[ChannelMaps, ...] = ()
    if cam_input is None or cam_output is None or head.cam is None:
        notes.append("this network has no channel attention: there are no channel maps")
    else:
        cam_gamma = float(head.cam.gamma.scale)
        _check_channels(channels, cam_input.shape[1])
        after = cam_output[0].cpu()
        picked = [describe_channel(after, found, index) for index in channels]
        picked = picked or separating_channels(after, found, CHANNELS)
        maps = tuple(_channel_maps(channel, cam_input, after) for channel in picked)
        if cam_gamma == 0:
            notes.append("CAM's gamma is 0: its maps are the same before and after")
    return Explanation(labels, input_hw, align, attentions, maps, pam_gamma, cam_gamma, tuple(notes))


class _Places:
    """Maps pixels of the image to cells at stride 8 and back, as upsampling does."""

    def __init__(self, cells_hw: Size, image_hw: Size, align_corners: bool) -> None:
        self.cells_hw, self.image_hw, self.align_corners = cells_hw, image_hw, align_corners

    def cell(self, x: int, y: int) -> int:
        """Return the cell nearest to a pixel, as row * columns + column."""
        row, column = (
            self._moved(index, size, cells)
            for index, size, cells in zip((y, x), self.image_hw, self.cells_hw, strict=True)
        )
        return row * self.cells_hw[1] + column

    def pixel(self, row: int, column: int) -> tuple[int, int]:
        """Return (x, y) of the pixel nearest to the middle of a cell."""
        y, x = (
            self._moved(index, cells, size)
            for index, cells, size in zip((row, column), self.cells_hw, self.image_hw, strict=True)
        )
        return x, y

    def _moved(self, index: int, size: int, other: int) -> int:
        if self.align_corners:
            return round(index * (other - 1) / (size - 1)) if size > 1 else 0
        return min(int((index + 0.5) * other / size), other - 1)


def _pixel_attention(x: int, y: int, labels: Image, row: Tensor, where: _Places) -> PixelAttention:
    best = row.topk(min(_MOST_ATTENDED, row.numel()))
    attended = []
    for weight, cell in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        attended.append((*where.pixel(*divmod(cell, where.cells_hw[1])), float(weight)))
    return PixelAttention(
        x,
        y,
        int(labels[y, x]),
        row.reshape(where.cells_hw).float().numpy(),
        float(entropy(row.double()[None])[0]),
        tuple(attended),
    )


def _channel_maps(channel: Channel, before: Tensor, after: Tensor) -> ChannelMaps:
    best = channel_weights(before, channel.number).cpu().topk(min(_MOST_ATTENDED, after.shape[0]))
    return ChannelMaps(
        channel,
        before[0, channel.number].cpu().float().numpy(),
        after[channel.number].float().numpy(),
        tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True)),
    )


def _innermost(found: Tensor, count: int) -> list[tuple[int, int]]:
    """Return (row, column) of the innermost cell of each of the largest classes, the largest first."""
    labels = found.numpy()
    sizes = np.bincount(labels.ravel())
    cells = []
    for train_id in np.argsort(-sizes, kind="stable")[:count]:
        if sizes[train_id]:
            inside = np.pad((labels == train_id).astype(np.uint8), 1)  # the image's edge is outside
            distance = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
            row, column = np.unravel_index(int(distance.argmax()), labels.shape)
            cells.append((int(row), int(column)))
    return cells


def _check_pixels(pixels: Sequence[tuple[int, int]], image: Image) -> None:
    height, width = image.shape[:2]
    for x, y in pixels:
        if not (0 <= x < width and 0 <= y < height):
            raise UsageError(
                f"the pixel {x},{y} is outside the image, which is {width}x{height}: give an X of 0 to "
                f"{width - 1} and a Y of 0 to {height - 1}"
            )


def _check_channels(channels: Sequence[int], count: int) -> None:
    for channel in channels:
        if not 0 <= channel < count:
            raise UsageError(
                f"there is no channel {channel}: this network's channel attention has 0 to {count - 1}"
            )
