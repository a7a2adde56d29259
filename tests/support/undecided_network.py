"""A small DANet with random weights that favours no class everywhere."""

from __future__ import annotations

from typing import Any

import torch

from danet_train import build_model
from danet_train.model.danet import DANet


def undecided_network(align_corners: bool | None = None, classes: int = 5, **options: Any) -> DANet:
    torch.manual_seed(1)
    small = {"base_channels": 4, "stem_channels": 4, "head_channels": 8, "attention_channels": 4}
    model = build_model(
        18, **small, num_classes=classes, aux_channels=None, align_corners=align_corners, **options
    )
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0.0, 0.3)
    torch.nn.init.normal_(model.decode_head.conv_seg.weight, 0.0, 0.2)
    bias = model.decode_head.conv_seg.bias
    assert bias is not None
    torch.nn.init.zeros_(bias)
    with torch.no_grad():  # no class is favoured everywhere, so that a label tells of its place
        logits = model.eval()(torch.randn(1, 3, 12, 16).repeat_interleave(8, 2).repeat_interleave(8, 3))
        bias -= logits.mean(dim=(0, 2, 3))
    return model
