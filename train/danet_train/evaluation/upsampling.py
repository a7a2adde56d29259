"""Bilinear resizing of logits, a band of rows at a time, so that many classes fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from danet_train.model.danet import OUTPUT_STRIDE


def aligns_corners(setting: bool | None, size_hw: Sequence[int]) -> bool:
    """Return whether logits for an input of ``size_hw`` are upsampled with aligned corners.

    As ``setting`` says; for None by the size, as mmsegmentation does.

    mmsegmentation aligns corners at sizes 8k+1 (769x769) and does not at 8k (512x1024).
    """
    if setting is not None:
        return setting
    return all(size % OUTPUT_STRIDE == 1 for size in size_hw)


class Rows(NamedTuple):
    """The rows ``first`` to ``last`` - 1 of a picture."""

    first: int
    last: int


def source_rows(rows: Rows, height: int, source_height: int, *, align_corners: bool) -> Rows:
    """Return the rows of a picture that ``rows`` of it, resized to ``height``, are computed from."""
    if height == source_height:
        return rows
    above, below, _ = _taps(rows, height, source_height, align_corners=align_corners)
    return Rows(int(above[0]), int(below[-1]) + 1)


def resize_rows(
    source: Tensor, held: Rows, source_height: int, rows: Rows, size_hw: Sequence[int], *, align_corners: bool
) -> Tensor:
    """Return some rows of a bilinearly resized picture, as ``F.interpolate`` gives them but for rounding.

    Args:
        source: (C, held rows, w) float, a band of the picture.
        held: Which rows of the picture ``source`` is; those that :func:`source_rows` names, at least.
        source_height: Height of the whole picture.
        rows: The wanted rows of the resized picture.
        size_hw: Size of the whole resized picture.
        align_corners: As ``F.interpolate`` takes it.

    Returns:
        (C, rows, W); it shares memory with ``source`` where the size does not change.
    """
    height, width = size_hw
    if height == source_height:
        mixed = source[:, rows.first - held.first : rows.last - held.first]
    else:
        above, below, weight = _taps(rows, height, source_height, align_corners=align_corners)
        upper = source.index_select(1, (above - held.first).to(source.device))
        lower = source.index_select(1, (below - held.first).to(source.device))
        mixed = torch.lerp(upper, lower, weight.to(source)[:, None])  # (C, rows, w)
    if width == source.shape[-1]:
        return mixed
    # The rows are those wanted already, so that only the columns change here.
    return F.interpolate(
        mixed[None], size=(mixed.shape[1], width), mode="bilinear", align_corners=align_corners
    )[0]


def _taps(
    rows: Rows, height: int, source_height: int, *, align_corners: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two source rows of each row, and the weight of the second; each (rows,)."""
    place = torch.arange(rows.first, rows.last, dtype=torch.float64)
    if align_corners:
        place *= (source_height - 1) / (height - 1) if height > 1 else 0.0
    else:
        place = ((place + 0.5) * (source_height / height) - 0.5).clamp_(min=0)
    above = place.floor().long().clamp_(max=source_height - 1)
    return above, (above + 1).clamp_(max=source_height - 1), place - above
