"""Networks with random weights, for what does not depend on them."""

from __future__ import annotations

import torch

from danet_train.model.danet import DANet, build_model


def random_network(depth: int, seed: int) -> DANet:
    """Random weights whose attention matters and whose activations stay within FP16."""
    torch.manual_seed(seed)
    network = build_model(depth, aux_channels=0).eval()
    with torch.no_grad():
        for module in network.modules():
            if hasattr(module, "bn3"):  # a residual branch: unscaled, a hundred layers grow without bound
                module.bn3.weight.fill_(0.2)
        network.decode_head.pam.gamma.scale.fill_(1)
        network.decode_head.cam.gamma.scale.fill_(1)
    return network
