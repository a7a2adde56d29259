"""Fake quantisation: float values rounded to what INT8 could hold, with gradients that pass the rounding.

The arithmetic is that of ONNX's QuantizeLinear and DequantizeLinear with zero points of 0. Activations have
one scale a tensor, which is learned; weights have one an output channel, which follows their largest
magnitude, so that folding a batch norm into the convolution (a factor an output channel) changes no rounding.

torch's functions are used, and not modelopt's quantisers: those belong to modules, so that a tensor with
several readers would have several scales and a residual sum none; and they add to the state dict.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danet_train.errors import QuantisationError

LOWEST, HIGHEST = -128, 127
"""The range of INT8. Weights use -127..127 only, so that they are symmetric."""

_LEAST_MAGNITUDE = 1e-30
"""Least magnitude of a channel of weights: the reciprocal of its scale must be finite too."""

SMALLEST_SCALE = 2.0**-18
"""Scales are FP16 in the exported file; below this they would lose their own precision."""


def fake_quantise(x: Tensor, scale: Tensor) -> Tensor:
    """Compute ``scale * clamp(round(x / scale), -128, 127)``.

    The gradient passes the rounding as if it were not there, and is 0 for ``x`` where it was clamped. That of
    ``scale`` is (Esser et al., Learned Step Size Quantization, ICLR 2020, eq. 3):
    ``round(x / scale) - x / scale`` inside, -128 or 127 where it was clamped.

    Args:
        x: Tensor of any shape and any floating type.
        scale: (), positive, float32.

    Returns:
        Tensor of the shape of ``x``, float32.
    """
    levels = (x.float() / scale).clamp(LOWEST, HIGHEST)
    rounded: Tensor = levels + (levels.round() - levels).detach()
    return rounded * scale


def fake_quantise_weight(weight: Tensor) -> Tensor:
    """Round each output channel to the 255 levels between plus and minus its largest magnitude.

    Args:
        weight: (out, in, h, w) float32.

    Returns:
        Tensor of the same shape; its gradient is passed to ``weight`` unchanged.
    """
    scale = weight.detach().abs().amax(dim=(1, 2, 3)).clamp(min=_LEAST_MAGNITUDE) / HIGHEST
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -HIGHEST, HIGHEST)


class ActivationQuantiser:
    """The scale of one tensor: found on real frames first, then learned.

    The logarithm is what is learned, so that a scale stays positive and a step changes it by a share of
    itself, be it large or small (Jain et al., Trained Quantization Thresholds, MLSys 2020, appendix B).

    Args:
        name: Name of the activation, for messages.
        percentile: Percentile of a frame's magnitudes, 0..100, that the scale must reach.
        device: Device of the tensor.
    """

    def __init__(self, name: str, percentile: float, device: torch.device) -> None:
        self.name = name
        self.log_scale = torch.zeros((), device=device, requires_grad=True)
        self.observing = False
        self._percentile = percentile
        self._magnitudes: list[float] = []

    def __call__(self, x: Tensor) -> Tensor:
        """Quantise ``x``; while observing, note its magnitude and return it unchanged."""
        if not self.observing:
            return fake_quantise(x, self.log_scale.exp())
        magnitudes = x.detach().float().abs().flatten()
        rank = max(1, math.ceil(magnitudes.numel() * self._percentile / 100))
        # The least of the few largest: over four times as fast as kthvalue, which orders all of them.
        largest = magnitudes.topk(magnitudes.numel() - rank + 1).values
        self._magnitudes.append(float(largest[-1]))
        return x

    @property
    def scale(self) -> float:
        """The width of one level, at least ``SMALLEST_SCALE``."""
        return max(math.exp(float(self.log_scale.detach())), SMALLEST_SCALE)

    @scale.setter
    def scale(self, value: float) -> None:
        with torch.no_grad():
            self.log_scale.fill_(math.log(max(value, SMALLEST_SCALE)))

    def adopt_range(self) -> None:
        """Make the largest magnitude that was observed the scale's 127th level.

        Raises:
            QuantisationError: Nothing was observed, or something that is not finite.
        """
        if not self._magnitudes or not all(math.isfinite(value) for value in self._magnitudes):
            raise QuantisationError(
                f"the activation {self.name} has no finite range on {len(self._magnitudes)} frames; check "
                "that the checkpoint labels them well before it is fine-tuned"
            )
        self.scale = max(self._magnitudes) / HIGHEST
        self._magnitudes.clear()


class QuantisedConv2d(nn.Conv2d):
    """A convolution of fake-quantised input and weight; its parameters are those of the one it replaces.

    Args:
        convolution: The convolution whose parameters it shares.
        activation: Quantiser of its input. Kept out of the module's own state, which stays that of a
            convolution.
    """

    def __init__(self, convolution: nn.Conv2d, activation: ActivationQuantiser) -> None:
        super().__init__(
            convolution.in_channels,
            convolution.out_channels,
            convolution.kernel_size,  # type: ignore[arg-type]  # a pair, as it stands there
            stride=convolution.stride,  # type: ignore[arg-type]
            padding=convolution.padding,  # type: ignore[arg-type]
            dilation=convolution.dilation,  # type: ignore[arg-type]
            bias=convolution.bias is not None,
            device="meta",
        )
        self.weight, self.bias = convolution.weight, convolution.bias
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H', W')."""
        weight = fake_quantise_weight(self.weight)
        return F.conv2d(self.activation(x), weight, self.bias, self.stride, self.padding, self.dilation)
