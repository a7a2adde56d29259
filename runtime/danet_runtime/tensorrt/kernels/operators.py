"""The custom operators of the domain ``danet`` as TensorRT sees them: inputs, attributes, outputs, sizes.

Both kinds of plugin are made from this one table. It also says which sizes a kernel is specialised for,
since a kernel's shapes are constants of its code: run on any other shape it would read and write out of
bounds, so every plugin compares the network's shapes with :attr:`Kernel.shape` first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from danet_runtime.bundle.manifest import Kernel, Operator
from danet_runtime.errors import BackendError, DanetError
from danet_runtime.tensorrt.kernels.targets import remedy

NAMESPACE: Final = "danet"
"""Namespace of the plugins: the nodes' ``plugin_namespace`` and the ONNX domain of the operators."""

PLUGIN_VERSION: Final = "1"
"""The nodes' ``plugin_version``."""

Extents = Sequence[int]
Sizes = dict[str, int]


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
class OperatorSpec:
    """One operator with one output.

    Attributes:
        name: The ONNX node's ``op_type`` and the plugin's name.
        inputs: Names of the inputs, each (batch, channels, height, width).
        attributes: Names of the integer attributes, beside ``plugin_namespace`` and ``plugin_version``.
        output: The output's shape.
        output_type: ``input`` where the output has the inputs' type.
        sizes: From the inputs' shapes and the attributes, the sizes that a kernel is specialised for.
    """

    name: Operator
    inputs: tuple[str, ...]
    attributes: tuple[str, ...]
    output: tuple[InputExtent | AttributeExtent, ...]
    output_type: Literal["input", "fp32"]
    sizes: Callable[[Sequence[Extents], Mapping[str, int]], Sizes]

    @property
    def parameters(self) -> int:
        """Number of the kernel's parameters: one pointer an input, and one for the output."""
        return len(self.inputs) + 1


def _position_attention_sizes(shapes: Sequence[Extents], _attributes: Mapping[str, int]) -> Sizes:
    q, k, v, x = (tuple(shape) for shape in shapes)
    if q != k or v != x or (q[0], *q[2:]) != (v[0], *v[2:]):
        raise BackendError(
            "PositionAttention expects q and k of one shape (B, d_qk, h, w), v and x of one shape "
            f"(B, d_v, h, w) (got q {q}, k {k}, v {v}, x {x}); export the bundle again"
        )
    return {"batch": q[0], "d_qk": q[1], "d_v": v[1], "tokens": q[2] * q[3]}


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
        ),
        OperatorSpec(
            name="ChannelEnergy",
            inputs=("x",),
            attributes=("slices",),
            output=(InputExtent(0, 0), AttributeExtent("slices"), InputExtent(0, 1), InputExtent(0, 1)),
            output_type="fp32",
            sizes=_channel_energy_sizes,
        ),
        OperatorSpec(
            name="UpsampleArgmax",
            inputs=("logits",),
            attributes=("height", "width", "align_corners"),
            output=(InputExtent(0, 0), AttributeExtent("height"), AttributeExtent("width")),
            output_type="input",
            sizes=_upsample_argmax_sizes,
        ),
    )
}
"""Every operator that has a plugin, by name."""


def output_shape(
    spec: OperatorSpec, shapes: Sequence[Extents], attributes: Mapping[str, int]
) -> tuple[int, ...]:
    """The output's shape where the inputs' shapes are known."""
    return tuple(
        shapes[extent.input][extent.axis] if isinstance(extent, InputExtent) else attributes[extent.attribute]
        for extent in spec.output
    )


def check_shapes(kernel: Kernel, shapes: Sequence[Extents], attributes: Mapping[str, int]) -> None:
    """Refuse a network whose shapes are not those that a kernel is specialised for.

    Args:
        kernel: The kernel that would run.
        shapes: Shape of each input as the network has it.
        attributes: The node's integer attributes.

    Raises:
        BackendError: A shape that the operator does not take, that is not fixed, or that is not the kernel's.
    """
    spec = OPERATORS[kernel.operator]
    shown = ", ".join(f"{name} {tuple(shape)}" for name, shape in zip(spec.inputs, shapes, strict=False))
    if len(shapes) != len(spec.inputs) or any(len(shape) != 4 for shape in shapes):
        raise BackendError(
            f"{spec.name} expects the inputs {', '.join(spec.inputs)}, each (batch, channels, height, width) "
            f"(got {shown}); export the bundle again"
        )
    if any(extent < 1 for shape in shapes for extent in shape):
        raise BackendError(
            f"{spec.name} expects fixed shapes (got {shown}): a kernel is compiled for one shape; "
            "build the engine from the bundle's own model file, which has no dynamic axes"
        )
    missing = [name for name in spec.attributes if name not in attributes]
    if missing:
        raise BackendError(
            f"{spec.name} expects the attributes {', '.join(spec.attributes)} (got none called "
            f"{', '.join(missing)}); export the bundle again"
        )
    sizes = spec.sizes(shapes, attributes)
    if set(kernel.shape) != set(sizes):
        raise BackendError(
            f"{kernel.ptx.path} names the sizes {', '.join(sorted(kernel.shape))} of {spec.name}, expected "
            f"{', '.join(sorted(sizes))}; the bundle and this version of danet do not belong together: "
            f"{remedy(kernel.arch, kernel.dtype)}"
        )
    different = [
        f"{name}={size} (kernel: {kernel.shape[name]})"
        for name, size in sizes.items()
        if size != kernel.shape[name]
    ]
    if different:
        raise BackendError(
            f"the network's {spec.name} has {', '.join(different)}; {kernel.ptx.path} is compiled for "
            f"its own shapes alone: {remedy(kernel.arch, kernel.dtype)}"
        )


@contextmanager
def noting_refusals(failures: list[str]) -> Iterator[None]:
    """Append the message of an error of ours to ``failures`` and let it pass.

    TensorRT prints what a plugin raises and then reports only that it failed; who called TensorRT finds the
    reason in this list.
    """
    try:
        yield
    except DanetError as error:
        failures.append(str(error))
        raise
