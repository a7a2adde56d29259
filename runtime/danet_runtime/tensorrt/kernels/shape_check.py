"""Refusing what a kernel would not compute right: a network of other shapes than it is compiled for.

A kernel's shapes are constants of its code: run on any other shape it would read and write out of bounds. So
every plugin compares the network's shapes with :attr:`Kernel.shape` first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from danet_runtime.bundle.manifest import Kernel
from danet_runtime.bundle.operators import OPERATORS, Extents
from danet_runtime.errors import BackendError, DanetError
from danet_runtime.tensorrt.kernels.targets import remedy


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
