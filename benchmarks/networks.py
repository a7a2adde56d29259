"""Networks with random weights, for what does not depend on them."""

from __future__ import annotations

import torch
from torch import nn

from danet_train.model.backbones.resnet_network import Bottleneck
from danet_train.model.danet import DANet, build_model


def random_network(depth: int, seed: int) -> DANet:
    """Random weights whose attention matters and whose activations stay within FP16."""
    torch.manual_seed(seed)
    network = build_model(depth, aux_channels=0).eval()
    for module in network.modules():
        if isinstance(module, Bottleneck):  # a residual branch: unscaled, a hundred layers grow without bound
            nn.init.constant_(module.bn3.weight, 0.2)
    open_attentions(network)
    return network


def open_attentions(network: DANet, gamma: float = 1.0) -> None:
    """Let both attentions count: their gammas, which begin at 0, become this."""
    for attention in (network.decode_head.pam, network.decode_head.cam):
        if attention is not None:
            nn.init.constant_(attention.gamma.scale, gamma)
