"""The dilated ResNet (output stride 8) under the head.

The variant is mmsegmentation's ``ResNetV1c``: a deep stem, stride on the 3x3 convolution of a bottleneck,
``contract_dilation`` (the first block of a dilated layer uses half its dilation). Module names are
mmsegmentation's, so that its weights load unchanged.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from torch import Tensor, nn

from danet_train.model.backbones.reads import Read, Reader, read_by_convolution
from danet_train.model.backbones.resnet_options import ResNetOptions, has_bottlenecks, layer_dilations

_STRIDES = (1, 2, 1, 1)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, Fig. 5 left).

    Only ``conv1`` is dilated: mmsegmentation leaves ``conv2`` at dilation 1 in every layer.
    """

    expansion = 1

    def __init__(
        self, in_channels: int, width: int, stride: int, dilation: int, downsample: nn.Module | None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(
            in_channels, width, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
        )
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The normalisation whose scale starts at 0."""
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        activated: Tensor = self.relu(out + shortcut)
        return activated


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut (He et al. 2016, Fig. 5 right); the stride is on the 3x3."""

    expansion = 4

    def __init__(
        self, in_channels: int, width: int, stride: int, dilation: int, downsample: nn.Module | None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(
            width, width, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
        )
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The normalisation whose scale starts at 0."""
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, 4 * width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        activated: Tensor = self.relu(out + shortcut)
        return activated


def _layer(
    block: type[BasicBlock] | type[Bottleneck],
    in_channels: int,
    width: int,
    stride: int,
    dilations: tuple[int, ...],
) -> nn.Sequential:
    out_channels = width * block.expansion
    downsample = None
    if stride != 1 or in_channels != out_channels:
        downsample = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
        )
    blocks = [block(in_channels, width, stride, dilations[0], downsample)]
    blocks += [block(out_channels, width, 1, dilation, None) for dilation in dilations[1:]]
    return nn.Sequential(*blocks)


def _deep_stem(out_channels: int) -> nn.Sequential:
    half = out_channels // 2
    return nn.Sequential(
        nn.Conv2d(3, half, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(half),
        nn.ReLU(inplace=True),
        nn.Conv2d(half, half, 3, padding=1, bias=False),
        nn.BatchNorm2d(half),
        nn.ReLU(inplace=True),
        nn.Conv2d(half, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class ResNetV1c(nn.Module):
    """ResNet with output stride 8: strides (1, 2, 1, 1), dilations (1, 1, 2, 4)."""

    def __init__(self, options: ResNetOptions) -> None:
        super().__init__()
        if options.stem == "deep":
            self.stem = _deep_stem(options.stem_channels)
        else:
            self.conv1 = nn.Conv2d(3, options.stem_channels, 7, stride=2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(options.stem_channels)
            self.relu = nn.ReLU(inplace=True)
        self.has_deep_stem = options.stem == "deep"
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

        block = Bottleneck if has_bottlenecks(options.depth) else BasicBlock
        dilations = layer_dilations(options.depth, options.multi_grid)
        channels, layers = options.stem_channels, []
        for level in range(4):
            width = options.base_channels * 2**level
            layers.append(_layer(block, channels, width, _STRIDES[level], dilations[level]))
            channels = width * block.expansion
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self._initialise()

    def _initialise(self) -> None:
        """Convolutions Kaiming normal (fan out), the last norm of each block 0, as mmsegmentation."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for module in self.modules():
            if isinstance(module, BasicBlock | Bottleneck):
                nn.init.zeros_(module.last_norm.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the last two layers.

        Args:
            x: (B, 3, H, W), normalised RGB.

        Returns:
            c3 (B, 4 * width, h, w) and c4 (B, 8 * width, h, w), where width is ``base_channels`` times the
            block's expansion, h = ceil(H / 8), w = ceil(W / 8).
        """
        x = self.stem(x) if self.has_deep_stem else self.relu(self.bn1(self.conv1(x)))  # (B, stem, H/2, W/2)
        x = self.maxpool(x)  # (B, stem, H/4, W/4)
        x = self.layer2(self.layer1(x))  # (B, 2 * width, H/8, W/8)
        c3: Tensor = self.layer3(x)  # (B, 4 * width, H/8, W/8)
        c4: Tensor = self.layer4(c3)  # (B, 8 * width, H/8, W/8)
        return c3, c4

    def quantised_reads(self, image: str) -> Generator[Read, None, str]:
        """Yield the reads, see :class:`danet_train.model.backbones.reads.ListsReads`."""
        tensor = image
        if self.has_deep_stem:
            for index in (0, 3, 6):  # each followed by its normalisation and ReLU
                yield read_by_convolution(tensor, f"backbone.stem.{index}")
                tensor = f"backbone.stem.{index}"
        else:
            yield read_by_convolution(tensor, "backbone.conv1")
            tensor = "backbone.conv1"
        # The pooled tensor keeps the scale: the largest of quantised values is one of them.
        yield Read(tensor, Reader("pooling", "backbone.maxpool"))
        for layer in ("layer1", "layer2", "layer3", "layer4"):
            for index, block in enumerate(getattr(self, layer)):
                name = f"backbone.{layer}.{index}"
                yield from _block_reads(tensor, name, block)
                tensor = name
        return tensor


def _block_reads(tensor: str, name: str, block: BasicBlock | Bottleneck) -> Iterator[Read]:
    convolutions = ("conv1", "conv2", "conv3") if isinstance(block, Bottleneck) else ("conv1", "conv2")
    shortcut, summed = tensor, [f"{name}.{convolutions[-1]}"]
    if block.downsample is not None:
        yield read_by_convolution(tensor, f"{name}.downsample.0")
        shortcut = f"{name}.downsample"
        summed.append(f"{name}.downsample.0")
    inner = tensor
    for convolution in convolutions:
        yield read_by_convolution(inner, f"{name}.{convolution}")
        inner = f"{name}.{convolution}"
    yield Read(shortcut, Reader("shortcut", name), tuple(summed))
