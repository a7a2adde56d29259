"""Compiles the kernels of one bundle, every operator and variant, to PTX and manifest entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Final, get_args

from danet_export.kernels.architectures import Architecture, KernelRequest
from danet_export.kernels.cache import compile_cached
from danet_export.kernels.specification import KernelSpec
from danet_runtime.bundle import BundleWriter, FileRef, Kernel
from danet_runtime.bundle.manifest import KernelVariant
from danet_runtime.bundle.operators import OPERATORS, Operator, Sizes

VARIANTS: Final[tuple[KernelVariant, ...]] = get_args(KernelVariant)

Problem = Mapping[Operator, Sizes]
"""Sizes of a network's custom operators."""


def specify(problem: Problem, architecture: Architecture, variant: KernelVariant) -> list[KernelSpec]:
    """Return the kernel of every operator of a problem, from the module with the operator's name."""
    specs = []
    for operator, sizes in problem.items():
        module = import_module(f"danet_export.kernels.{OPERATORS[operator].stem}")
        specs.append(module.specify(sizes, architecture, variant))
    return specs


def write_kernels(
    request: KernelRequest, problem: Problem, writer: BundleWriter, step: Callable[[str], None]
) -> Iterator[Kernel]:
    """Compile the kernels of a bundle and write them as ``kernels/sm_XX/OPERATOR.DTYPE.VARIANT.ptx``.

    Where both variants are the same code, there is one file, with the first variant's name.

    Args:
        request: Architectures and type.
        problem: Sizes of the bundle's operators.
        writer: Writer of the bundle.
        step: Called with the name of the next step.

    Yields:
        One manifest entry for each operator, variant and architecture.

    Raises:
        ExportError: A kernel cannot be compiled within its architecture's limits.
    """
    for architecture in request.architectures:
        written: dict[str, FileRef] = {}
        for variant in VARIANTS:
            for spec in specify(problem, architecture, variant):
                step(f"compile {spec.operator} for {architecture.name} ({variant})")
                compiled = compile_cached(spec, architecture, request.dtype)
                if compiled.ptx not in written:
                    path = f"kernels/{architecture.name}/{compiled.entry}.{request.dtype}.{variant}.ptx"
                    written[compiled.ptx] = writer.add(path, compiled.ptx.encode("ascii"))
                yield Kernel(
                    operator=spec.operator,
                    arch=architecture.name,
                    dtype=request.dtype,
                    variant=variant,
                    ptx=written[compiled.ptx],
                    entry=compiled.entry,
                    grid=spec.grid,
                    block=compiled.block,
                    shared_memory_bytes=compiled.shared_memory_bytes,
                    registers=compiled.registers,
                    spill_bytes=compiled.spill_bytes,
                    ptx_version=compiled.ptx_version,
                    shape=dict(spec.shape),
                )
