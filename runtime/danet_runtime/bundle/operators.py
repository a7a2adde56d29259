"""The custom operators of the domain ``danet``: the one place that says what each of them is.

Whoever makes, changes or runs such a node (export, calibration, plugins, lowerings, tests) reads it here: its
name, inputs, attributes, output and types, the sizes that a kernel is specialised for, how far a result may
lie from the true one, and small cases whose true results are known.

==================  ==========================================  =========================================
operator            inputs                                      output
==================  ==========================================  =========================================
PositionAttention   q, k (B, d_qk, h, w), v, x (B, d_v, h, w)   softmax(Q^T K) V + x, as x  [1, eq. 1 and 2]
ChannelEnergy       x (B, C, h, w)                              partial sums of X X^T (B, S, C, C), FP32
UpsampleArgmax      logits (B, C, h, w)                         class index (B, height, width), as logits
==================  ==========================================  =========================================

PositionAttention takes rows of q, k and v that are longer than x's N = h w positions: what lies behind the
first N of a channel is padding, counts for nothing and may hold anything. A kernel reads aligned rows in wide
words; so an export pads them where N is no multiple of 8 (:func:`padded_tokens`).

ChannelEnergy is the part of CAM that needs a kernel: a sum over all positions, beyond FP16's range, that no
MatMul of a strongly typed network gives without FP32 copies of X. It comes in S slices of the positions,
which the network adds up (:func:`energy_slices`); softmax(-E) X, gamma and the residual [1, eq. 3 and 4] are
standard operators behind it. UpsampleArgmax gives an index in the type of the logits, which is exact up to
:data:`MOST_CLASSES`.

[1] Fu et al., Dual Attention Network for Scene Segmentation, CVPR 2019. Both reference codebases use -E in
eq. 3 where the paper prints +E. PAM's gamma is folded into the value projection before export.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from danet_runtime.errors import BackendError

Operator = Literal["PositionAttention", "ChannelEnergy", "UpsampleArgmax"]
"""The custom operators of the domain ``danet``, which have a kernel each."""

NAMESPACE: Final = "danet"
"""The operators' ONNX domain, and the nodes' ``plugin_namespace``."""

PLUGIN_VERSION: Final = "1"
"""The nodes' ``plugin_version``."""

PLUGIN_ATTRIBUTES: Final[Mapping[str, str]] = {
    "plugin_namespace": NAMESPACE,
    "plugin_version": PLUGIN_VERSION,
}
"""Attributes by which TensorRT's parser looks a plugin up."""

MOST_CLASSES: Final[Mapping[str, int]] = {"fp16": 2048, "bf16": 256}
"""Classes up to which every index is exact in a type."""

MOST_SLICES: Final = 16
LEAST_SLICE_TOKENS: Final = 512
SLICE_GRANULE: Final = 16
"""Slices begin at multiples of 16 positions, so that a kernel can load them in wide words."""

ROW_ALIGNMENT: Final = 8
"""Elements in the widest word that a kernel loads: rows that begin at multiples of it are aligned."""

ROW_GRANULE: Final = 128
"""Padded rows are whole blocks of queries of every kernel."""

Extents = Sequence[int]
Sizes = Mapping[str, int]


@dataclass(frozen=True)
class InputExtent:
    """An extent of the output that equals an extent of an input."""

    input: int
    axis: int


@dataclass(frozen=True)
class AttributeExtent:
    """An extent of the output that a node's attribute gives."""

    attribute: str


@dataclass(frozen=True)
class GoldenCase:
    """Inputs that every type holds exactly, and the operator's true result.

    Attributes:
        inputs: Values of each input by its name, nested as (batch, channels, height, width).
        attributes: The node's integer attributes.
        output: The true result, nested as the output's shape.
    """

    inputs: Mapping[str, Any]
    attributes: Mapping[str, int]
    output: Any


@dataclass(frozen=True)
class Energies:
    """The products of an operator that go beyond FP16's range, whose size is measured.

    Attributes:
        product: Formula of the products, such as ``Q^T K``.
        tensor: Their name inside the function body; ``None`` where they are the output.
    """

    product: str
    tensor: str | None = None


@dataclass(frozen=True)
class OperatorSpec:
    """One operator with one output.

    Attributes:
        name: The ONNX node's ``op_type`` and the plugin's name.
        inputs: Names of the inputs, each (batch, channels, height, width).
        attributes: Names of the integer attributes, beside ``plugin_namespace`` and ``plugin_version``.
        output: The output's shape.
        output_type: ``input`` where the output has the inputs' type.
        sizes: Returns the sizes that a kernel is specialised for, from the inputs' shapes and the attributes.
        tolerance: Largest :meth:`error` against the true result, by the type that is computed in.
        golden: Cases with known results.
        energies: Products of the operator that must be FP32; ``None`` where there are none.
        counts_labels: Whether the output holds class indices, which are right or wrong and not near.
        divisible: Inputs of which a run of positions gives the same run of the output's positions, where the
            other inputs are whole; the output has the shape of the last of them, and what others hold behind
            its positions is padding. Empty where the operator needs all positions at once.
    """

    name: Operator
    inputs: tuple[str, ...]
    attributes: tuple[str, ...]
    output: tuple[InputExtent | AttributeExtent, ...]
    output_type: Literal["input", "fp32"]
    sizes: Callable[[Sequence[Extents], Mapping[str, int]], Sizes]
    tolerance: Mapping[str, float]
    golden: tuple[GoldenCase, ...]
    energies: Energies | None = None
    counts_labels: bool = False
    divisible: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Number of the kernel's parameters: one pointer an input, and one for the output."""
        return len(self.inputs) + 1

    @property
    def stem(self) -> str:
        """The name in small letters: of its nodes, of its kernel, and of the modules that hold its code."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.name).lower()

    def node_attributes(self, values: Mapping[str, int]) -> dict[str, int | str]:
        """All attributes of a node, those of the plugin among them.

        Args:
            values: Value of each attribute in :attr:`attributes`, by its name.
        """
        return {**PLUGIN_ATTRIBUTES, **{name: values[name] for name in self.attributes}}

    def error(self, got: npt.ArrayLike, expected: npt.ArrayLike) -> float:
        """How far a result lies from the true one.

        Returns:
            The share of labels that differ; for anything else, the relative error in the Frobenius norm.
        """
        result, truth = np.asarray(got, np.float64), np.asarray(expected, np.float64)
        if self.counts_labels:
            return float((result != truth).mean())
        return float(np.linalg.norm(result - truth) / np.linalg.norm(truth))


def energy_slices(tokens: int) -> int:
    """S: into how many slices ChannelEnergy cuts N positions.

    As many as keep all multiprocessors busy together with the tiles of a slice (10 at C = 512), each of at
    least 512 positions, for its sum is written once and read once: 16 MiB in 16 slices at C = 512.
    """
    return max(1, min(MOST_SLICES, tokens // LEAST_SLICE_TOKENS))


def slice_length(tokens: int, slices: int) -> int:
    """Positions of one slice, a multiple of :data:`SLICE_GRANULE`; the last one ends in zeros."""
    return -(-tokens // (slices * SLICE_GRANULE)) * SLICE_GRANULE


def padded_tokens(tokens: int) -> int:
    """How long an export makes the rows of q, k and v: N, or where that is not aligned a whole granule."""
    if tokens % ROW_ALIGNMENT == 0:
        return tokens
    return -(-tokens // ROW_GRANULE) * ROW_GRANULE


def _position_attention_sizes(shapes: Sequence[Extents], _attributes: Mapping[str, int]) -> Sizes:
    """Among them ``pitch``, the elements from one row of q, k and v to the next, where they are padded."""
    q, k, v, x = (tuple(shape) for shape in shapes)
    tokens, pitch = x[2] * x[3], q[2] * q[3]
    fits = q == k and v[:2] == x[:2] and (q[0], *q[2:]) == (v[0], *v[2:])
    if not fits or pitch < tokens or (pitch == tokens and v != x):
        raise BackendError(
            "PositionAttention expects q and k of one shape (B, d_qk, h, w), v and x of one shape "
            "(B, d_v, h, w), or q, k and v with more positions than x, as padding "
            f"(got q {q}, k {k}, v {v}, x {x}); export the bundle again"
        )
    sizes = {"batch": q[0], "tokens": tokens, "d_qk": q[1], "d_v": v[1]}
    return sizes if pitch == tokens else {**sizes, "pitch": pitch}


def _channel_energy_sizes(shapes: Sequence[Extents], attributes: Mapping[str, int]) -> Sizes:
    batch, channels, height, width = shapes[0]
    return {
        "batch": batch,
        "channels": channels,
        "tokens": height * width,
        "slices": attributes["slices"],
    }


def _upsample_argmax_sizes(shapes: Sequence[Extents], attributes: Mapping[str, int]) -> Sizes:
    batch, classes, logits_height, logits_width = shapes[0]
    return {
        "batch": batch,
        "classes": classes,
        "logits_height": logits_height,
        "logits_width": logits_width,
        "height": attributes["height"],
        "width": attributes["width"],
        "align_corners": attributes["align_corners"],
    }


_ATTENTION_TOLERANCE: Final = {"fp32": 1e-5, "fp16": 2e-3, "bf16": 1.5e-2}

# Labels in near ties, which FP16 has more of, since its function body interpolates in FP16.
_LABEL_TOLERANCE: Final = {"fp32": 1e-3, "fp16": 2e-2}

# Four channels of which one is not zero: divided by sqrt(4), as a transformer's are, energies would be half.
# They are (0, 1) and (0, 2), so the context is -tanh(1/2) and -tanh(1).
_GOLDEN_ATTENTION: Final = GoldenCase(
    inputs={
        "q": [[[[1, 2]], [[0, 0]], [[0, 0]], [[0, 0]]]],
        "k": [[[[0, 1]], [[3, 4]], [[0, 0]], [[0, 0]]]],
        "v": [[[[1, -1]]]],
        "x": [[[[0.5, -0.25]]]],
    },
    attributes={},
    output=[[[[0.5 - 0.46211715726000975, -0.25 - 0.7615941559557649]]]],
)

# The same two positions in rows of four. Taken for positions, the others would have almost all the weight.
_GOLDEN_PADDED_ATTENTION: Final = GoldenCase(
    inputs={
        "q": [[[[1, 2, 50, 50]], [[0, 0, 50, 50]], [[0, 0, 50, 50]], [[0, 0, 50, 50]]]],
        "k": [[[[0, 1, 50, 50]], [[3, 4, 50, 50]], [[0, 0, 50, 50]], [[0, 0, 50, 50]]]],
        "v": [[[[1, -1, 1000, 1000]]]],
        "x": _GOLDEN_ATTENTION.inputs["x"],
    },
    attributes={},
    output=_GOLDEN_ATTENTION.output,
)

# 20 positions in two slices: 16 in the first, for slices are of whole granules, and 4 in the second.
_GOLDEN_ENERGY: Final = GoldenCase(
    inputs={"x": [[[[1] * 20], [[-2] * 20]]]},
    attributes={"slices": 2},
    output=[[[[16, -32], [-32, 64]], [[4, -8], [-8, 16]]]],
)

# Between its two samples class 1 falls from 1 to -1 and class 2 rises. Where either meets class 0, the lowest
# class wins: at a quarter and three quarters of the way, and with aligned corners in the middle.
_GOLDEN_LABELS: Final = (
    GoldenCase(
        inputs={"logits": [[[[0.5, 0.5]], [[1, -1]], [[-1, 1]]]]},
        attributes={"height": 1, "width": 4, "align_corners": 0},
        output=[[[1, 0, 0, 2]]],
    ),
    GoldenCase(
        inputs={"logits": [[[[0, 0]], [[1, -1]], [[-1, 1]]]]},
        attributes={"height": 1, "width": 3, "align_corners": 1},
        output=[[[1, 0, 2]]],
    ),
)

OPERATORS: Final[Mapping[Operator, OperatorSpec]] = {
    spec.name: spec
    for spec in (
        OperatorSpec(
            name="PositionAttention",
            inputs=("q", "k", "v", "x"),
            attributes=(),
            output=tuple(InputExtent(3, axis) for axis in range(4)),
            output_type="input",
            sizes=_position_attention_sizes,
            tolerance=_ATTENTION_TOLERANCE,
            golden=(_GOLDEN_ATTENTION, _GOLDEN_PADDED_ATTENTION),
            energies=Energies("Q^T K", "danet_pa_energy"),
            divisible=("q", "x"),
        ),
        OperatorSpec(
            name="ChannelEnergy",
            inputs=("x",),
            attributes=("slices",),
            output=(InputExtent(0, 0), AttributeExtent("slices"), InputExtent(0, 1), InputExtent(0, 1)),
            output_type="fp32",
            sizes=_channel_energy_sizes,
            tolerance=_ATTENTION_TOLERANCE,
            golden=(_GOLDEN_ENERGY,),
            energies=Energies("A A^T"),
        ),
        OperatorSpec(
            name="UpsampleArgmax",
            inputs=("logits",),
            attributes=("height", "width", "align_corners"),
            output=(InputExtent(0, 0), AttributeExtent("height"), AttributeExtent("width")),
            output_type="input",
            sizes=_upsample_argmax_sizes,
            tolerance=_LABEL_TOLERANCE,
            golden=_GOLDEN_LABELS,
            counts_labels=True,
        ),
    )
}
"""Every operator, by name."""


def spec_of(domain: str, op_type: str) -> OperatorSpec | None:
    """The operator of a node; ``None`` for one of another domain, or one that this version does not know."""
    return next((spec for spec in OPERATORS.values() if (NAMESPACE, spec.name) == (domain, op_type)), None)


def output_shape(
    spec: OperatorSpec, shapes: Sequence[Extents], attributes: Mapping[str, int]
) -> tuple[int, ...]:
    """The output's shape where the inputs' shapes are known."""
    return tuple(
        shapes[extent.input][extent.axis] if isinstance(extent, InputExtent) else attributes[extent.attribute]
        for extent in spec.output
    )
