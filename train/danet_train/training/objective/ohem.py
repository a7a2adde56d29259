"""Online hard example mining: the loss of the pixels that the network is least sure of.

Shrivastava et al. 2016, as mmsegmentation's ``OHEMPixelSampler``: each classifier has hard pixels of its own.
The divisor stays that of all pixels, or all that are not ignored. The pixels are chosen among those
that go through the network at once: of one process, and of one part of an accumulated batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from danet_train.classes import IGNORE
from danet_train.config.sections import OhemConfig


@torch.no_grad()
def hard_pixels(logits: Tensor, label: Tensor, config: OhemConfig, weights: Tensor | None = None) -> Tensor:
    """Return which pixels count in the loss.

    With k = ``min_kept`` times the number of images: where a threshold is set, the pixels whose probability
    of their own class lies below it or, where that is more, below the (k + 1)-th lowest of the batch; else
    the k of the greatest loss.

    Args:
        logits: (B, C, H, W) float of any precision.
        label: (B, H, W) train ids, 255 ignored.
        config: The threshold and the least number.
        weights: (C,) weight of each class in the loss, None for 1; used where there is no threshold.

    Returns:
        (B, H, W) bool, false where the label is ignored.
    """
    valid = label != IGNORE
    least = config.min_kept * label.shape[0]
    losses = F.cross_entropy(
        logits.float(),
        label,
        weight=None if config.threshold is not None else weights,
        ignore_index=IGNORE,
        reduction="none",
    )
    known = losses[valid]  # (pixels,)
    if not known.numel():
        return valid
    if config.threshold is None:
        chosen = torch.zeros_like(known, dtype=torch.bool)
        chosen[known.topk(min(least, known.numel())).indices] = True
    else:
        probability = torch.exp(-known)
        at = min(least, known.numel() - 1)
        bound = probability.kthvalue(at + 1).values.clamp(min=config.threshold)
        chosen = probability < bound
    hard = torch.zeros_like(valid)
    hard[valid] = chosen
    return hard
