"""DANet: a backbone under the dual attention head."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from danet_train.model.backbones.registry import find_backbone
from danet_train.model.config import DANetConfig, make_config
from danet_train.model.head import DAHead, FCNHead

OUTPUT_STRIDE = 8


class TrainingLogits(NamedTuple):
    """The outputs of a DANet in train mode, each (B, num_classes, h, w) at stride 8.

    Attributes:
        fused: Logits of the sum of the branches; the only ones that inference computes.
        pam: Logits of the position branch, None unless both branches exist.
        cam: Logits of the channel branch, None unless both branches exist.
        aux: Logits of the auxiliary head on layer3, None without one.
    """

    fused: Tensor
    pam: Tensor | None
    cam: Tensor | None
    aux: Tensor | None


class DANet(nn.Module):
    """The network of Fu et al., CVPR 2019; over a ResNet with mmsegmentation's module and parameter names.

    Attributes:
        config: The shape of this network.
        backbone: (B, 3, H, W) -> (c3, c4).
        decode_head: c4 -> logits.
        auxiliary_head: c3 -> logits, or None.
    """

    def __init__(self, config: DANetConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = find_backbone(config.backbone).build(config.options)
        self.decode_head = DAHead(
            config.c4_channels,
            config.head_channels,
            config.attention_channels,
            config.num_classes,
            pam=config.pam,
            cam=config.cam,
            dropout=config.dropout,
        )
        self.auxiliary_head = (
            FCNHead(config.c3_channels, config.aux_channels, config.num_classes, config.dropout)
            if config.aux_channels
            else None
        )

    def forward(self, x: Tensor) -> Tensor | TrainingLogits:
        """Compute logits at stride 8; upsampling and argmax are left to the caller.

        Args:
            x: (B, 3, H, W) float, normalised RGB. Any H and W; h = ceil(H / 8), w = ceil(W / 8).

        Returns:
            In eval mode the sum branch's logits (B, num_classes, h, w); in train mode all logits.
        """
        c3, c4 = self.backbone(x)  # (B, C3, h, w), (B, C4, h, w)
        head = self.decode_head(c4)
        if not self.training:
            fused: Tensor = head.fused
            return fused
        aux = None if self.auxiliary_head is None else self.auxiliary_head(c3)
        return TrainingLogits(fused=head.fused, pam=head.pam, cam=head.cam, aux=aux)


def build_model(depth: int | None = None, **options: Any) -> DANet:  # noqa: ANN401 - DANetConfig checks them
    """Return a DANet with fresh weights, in train mode.

    Args:
        depth: Depth of the ResNet: 18, 34, 50 (where it is not given) or 101.
        **options: Any field of :class:`DANetConfig`, and any option of the backbone.

    Raises:
        ConfigError: An option is unknown, of a wrong type or impossible.
    """
    if depth is not None:
        options["depth"] = depth
    return DANet(make_config("build_model", **options))


def freeze_statistics(model: nn.Module) -> None:
    """Let every batch norm of a network in train mode normalise with its running statistics, unchanged.

    Their weights and biases are trained as before. ``model.train()`` undoes it.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
