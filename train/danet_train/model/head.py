"""The dual attention head and the auxiliary head; names are mmsegmentation's ``DAHead`` and ``FCNHead``."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from danet_train.model.attention import ChannelAttention, PositionAttention


class ConvBNReLU(nn.Module):
    """A 3x3 convolution without bias, batch normalisation, ReLU (mmcv's ``ConvModule``: ``conv``, ``bn``)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H, W)."""
        out: Tensor = self.relu(self.bn(self.conv(x)))
        return out


def _classifier(channels: int, num_classes: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, num_classes, 1)
    nn.init.normal_(conv.weight, std=0.01)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


class HeadFeatures(NamedTuple):
    """The inputs of the classifiers, each (B, head_channels, h, w).

    Attributes:
        fused: The sum of the branches that exist.
        pam: The position branch, None unless both branches exist.
        cam: The channel branch, None unless both branches exist.
    """

    fused: Tensor
    pam: Tensor | None
    cam: Tensor | None


class HeadLogits(NamedTuple):
    """Logits of the head, each (B, num_classes, h, w); ``pam`` and ``cam`` may be None as in HeadFeatures."""

    fused: Tensor
    pam: Tensor | None
    cam: Tensor | None


class DAHead(nn.Module):
    """Two parallel branches (convolution, attention, convolution), classified apart and as a sum (Fig. 2).

    With one attention left out only the other's branch remains, and ``conv_seg`` reads it. With neither,
    the head is an FCN: ``convs.0`` (3x3) and ``conv_seg``. A module that does not exist is None.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        attention_channels: int,
        num_classes: int,
        *,
        pam: bool = True,
        cam: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.pam_in_conv = ConvBNReLU(in_channels, channels) if pam else None
        self.pam = PositionAttention(channels, attention_channels) if pam else None
        self.pam_out_conv = ConvBNReLU(channels, channels) if pam else None
        self.cam_in_conv = ConvBNReLU(in_channels, channels) if cam else None
        self.cam = ChannelAttention() if cam else None
        self.cam_out_conv = ConvBNReLU(channels, channels) if cam else None
        self.convs = None if pam or cam else nn.Sequential(ConvBNReLU(in_channels, channels))

        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = _classifier(channels, num_classes)
        # The reference leaves these two at torch's own initialisation.
        self.pam_conv_seg = nn.Conv2d(channels, num_classes, 1) if pam and cam else None
        self.cam_conv_seg = nn.Conv2d(channels, num_classes, 1) if pam and cam else None

    def position_branch(self, c4: Tensor) -> Tensor | None:
        """(B, C4, h, w) -> (B, channels, h, w), or None where PAM was left out."""
        if self.pam_in_conv is None or self.pam is None or self.pam_out_conv is None:
            return None
        out: Tensor = self.pam_out_conv(self.pam(self.pam_in_conv(c4)))
        return out

    def channel_branch(self, c4: Tensor) -> Tensor | None:
        """(B, C4, h, w) -> (B, channels, h, w), or None where CAM was left out."""
        if self.cam_in_conv is None or self.cam is None or self.cam_out_conv is None:
            return None
        out: Tensor = self.cam_out_conv(self.cam(self.cam_in_conv(c4)))
        return out

    def features(self, c4: Tensor) -> HeadFeatures:
        """(B, C4, h, w) -> the features that the classifiers read."""
        pam, cam = self.position_branch(c4), self.channel_branch(c4)
        if pam is not None and cam is not None:
            return HeadFeatures(fused=pam + cam, pam=pam, cam=cam)
        if self.convs is not None:
            return HeadFeatures(fused=self.convs(c4), pam=None, cam=None)
        only = pam if pam is not None else cam
        if only is None:  # the constructor leaves no such head
            raise RuntimeError("a DAHead has a branch or convs")
        return HeadFeatures(fused=only, pam=None, cam=None)

    def forward(self, c4: Tensor) -> HeadLogits:
        """(B, C4, h, w) -> logits; in eval mode the two branches' own logits are not computed."""
        features = self.features(c4)
        fused: Tensor = self.conv_seg(self.dropout(features.fused))
        pam = cam = None
        if self.training and self.pam_conv_seg is not None and self.cam_conv_seg is not None:
            pam = self.pam_conv_seg(self.dropout(features.pam))
            cam = self.cam_conv_seg(self.dropout(features.cam))
        return HeadLogits(fused=fused, pam=pam, cam=cam)


class FCNHead(nn.Module):
    """The auxiliary head on c3: one 3x3 convolution, dropout, classifier. Used in training only."""

    def __init__(self, in_channels: int, channels: int, num_classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.convs = nn.Sequential(ConvBNReLU(in_channels, channels))
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = _classifier(channels, num_classes)

    def forward(self, c3: Tensor) -> Tensor:
        """(B, C3, h, w) -> logits (B, num_classes, h, w)."""
        logits: Tensor = self.conv_seg(self.dropout(self.convs(c3)))
        return logits
