"""Measurements of FP16's range, for every tensor and both attentions' energies, as JSON and as text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from danet_calibration.errors import GateError

FP16_MAX: Final = 65504.0
FP16_LIMIT: Final = FP16_MAX / 2
"""Largest magnitude that may stay FP16: a factor of 2 is left for values that no calibration frame showed."""

_NAMED = 10


@dataclass(frozen=True)
class TensorRange:
    """One tensor over all frames.

    Attributes:
        tensor: Its name in the FP16 file; ``<custom node>/<inner name>`` inside an attention.
        node: Name of the node that computes it; empty for a constant.
        source: Name in the FP32 file of the tensor whose values these are: another one for a cast to FP16.
        fp16: Whether the FP16 file stores it in FP16.
        largest: Largest magnitude of its FP32 values; infinity where one is not a number.
        values: Number of values over all frames.
        overflow: Number of values that are not finite after rounding to FP16.
        underflow: Number of non-zero values that become subnormal or zero in FP16.
        zeroed: Number of non-zero values that become zero in FP16.
        nonfinite_when_rounded: Number of values that are not finite in the run that rounds every tensor.
    """

    tensor: str
    node: str
    source: str
    fp16: bool
    largest: float
    values: int
    overflow: int
    underflow: int
    zeroed: int
    nonfinite_when_rounded: int


@dataclass(frozen=True)
class AttentionRange:
    """The energies of one attention before its softmax.

    Attributes:
        attention: ``position_attention`` or ``channel_attention``.
        product: The measured product, as text.
        largest: Largest magnitude of the product.
        share_of_fp16: ``largest`` over 65504; beyond 1 the product cannot be FP16.
    """

    attention: str
    product: str
    largest: float
    share_of_fp16: float


@dataclass(frozen=True)
class Fp16Range:
    """Range of all tensors over all frames.

    Attributes:
        frames: Number of frames.
        tensors: Every floating-point tensor and every FP16 constant of the FP16 file.
        attention: Energies, one entry per attention.
        label_agreement: Share of pixels to which the run that rounds gives the label of the FP32 run.
    """

    frames: int
    tensors: tuple[TensorRange, ...]
    attention: tuple[AttentionRange, ...]
    label_agreement: float

    @property
    def beyond_limit(self) -> tuple[TensorRange, ...]:
        """Tensors that are FP16 in the file and go beyond :data:`FP16_LIMIT`."""
        return tuple(item for item in self.tensors if item.fp16 and not item.largest <= FP16_LIMIT)

    @property
    def nonfinite(self) -> tuple[TensorRange, ...]:
        """Tensors that are FP16 in the file and hold a value that is not finite, in either way."""
        return tuple(
            item for item in self.tensors if item.fp16 and (item.overflow or item.nonfinite_when_rounded)
        )

    def report(self, kept_fp32: Iterable[str] = ()) -> dict[str, Any]:
        """Return the report as JSON values.

        Args:
            kept_fp32: Names of the nodes that were put into FP32 because of an earlier measurement.
        """
        at_risk = [item for item in self.tensors if item.fp16]
        in_fp32 = [item for item in self.tensors if not item.fp16]
        return {
            "fp16_max": FP16_MAX,
            "limit": FP16_LIMIT,
            "frames": self.frames,
            "tensors": len(self.tensors),
            "tensors_fp16": len(at_risk),
            "attention": [asdict(item) for item in self.attention],
            "largest": [_row(item) for item in _by_size(at_risk)[:_NAMED]],
            "beyond_limit": [_row(item) for item in _by_size(self.beyond_limit)],
            "fp32_beyond_fp16": [_row(item) for item in _by_size(in_fp32) if item.overflow],
            "nonfinite_alone": sum(item.overflow for item in at_risk),
            "nonfinite_when_rounded": sum(item.nonfinite_when_rounded for item in at_risk),
            "underflow_share": sum(item.underflow for item in at_risk) / sum(item.values for item in at_risk),
            "zeroed_share": sum(item.zeroed for item in at_risk) / sum(item.values for item in at_risk),
            "label_agreement_rounded_fp32": self.label_agreement,
            "kept_fp32": sorted(kept_fp32),
        }

    def summary(self, kept_fp32: Iterable[str] = ()) -> list[str]:
        """Return the report as a few lines of text."""
        at_risk = _by_size(item for item in self.tensors if item.fp16)
        alone = sum(item.overflow for item in at_risk)
        together = sum(item.nonfinite_when_rounded for item in at_risk)
        top = at_risk[0]
        lines = [
            f"FP16 on {self.frames} frames: {len(at_risk)} tensors, the largest value {top.largest:.4g} "
            f"from {top.node or top.tensor} ({top.largest / FP16_MAX:.1%} of 65504); values not finite: "
            f"{alone} when rounded alone, {together} when every tensor is; labels as FP32 to "
            f"{self.label_agreement:.2%} of the pixels",
        ]
        for energy in self.attention:
            lines.append(
                f"{energy.attention}: largest |{energy.product}| {energy.largest:.4g}, "
                f"{energy.share_of_fp16:.1%} of 65504 (FP32 in the file)"
            )
        if self.beyond_limit:
            named = ", ".join(
                f"{item.node or item.tensor} ({item.largest:.4g})" for item in _by_size(self.beyond_limit)
            )
            lines.append(f"beyond half of FP16's range, must stay FP32: {named}")
        if kept := sorted(kept_fp32):
            lines.append(f"kept in FP32: {', '.join(kept)}")
        return lines


def require_fp16_range(measured: Fp16Range) -> None:
    """Refuse an FP16 file with values beyond half of FP16's range.

    Raises:
        GateError: A tensor has such values; the message names the largest.
    """
    bad = _by_size(measured.nonfinite) or _by_size(measured.beyond_limit)
    if bad:
        named = ", ".join(f"{item.node or item.tensor} ({item.largest:.4g})" for item in bad[:5])
        raise GateError(
            f"{len(bad)} FP16 tensors go beyond what FP16 holds safely on {measured.frames} frames: {named}; "
            f"expected no value beyond {FP16_LIMIT:.0f}. Keep them in FP32, or deploy the fp32 variant"
        )


def _by_size(tensors: Iterable[TensorRange]) -> list[TensorRange]:
    return sorted(tensors, key=lambda item: -item.largest)


def _row(item: TensorRange) -> dict[str, Any]:
    row = {key: value for key, value in asdict(item).items() if key != "fp16"}
    return {**row, "largest": item.largest if math.isfinite(item.largest) else None}  # JSON has no infinity
