"""Compiled kernels on the machine that executes PTX, launched by the product's own driver class.

A case is one operator at one size for one architecture. Its kernel goes the way that a bundle's kernel
goes: compiled by the export, described by a manifest's entry, loaded and launched by :class:`CudaDriver`;
the device behind it is :class:`ptx_machine.driver.ExecutingCuda`, and the truth is the operator's float64
reference.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from types import ModuleType
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from ptx_machine.arithmetic import from_bfloat, from_half, to_bfloat, to_half
from ptx_machine.driver import ExecutingCuda
from ptx_machine.launch import Report

from danet_export.kernels.architectures import ARCHITECTURES
from danet_export.kernels.compiler import CompiledKernel, compile_kernel
from danet_export.kernels.specification import KernelSpec
from danet_export.ops.catalogue import code_of
from danet_runtime.bundle.manifest import FileRef, Kernel, KernelDtype, KernelVariant
from danet_runtime.bundle.operators import OPERATORS, Operator, output_shape
from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.cuda.driver import CudaDriver
from danet_runtime.tensorrt.kernels.kernels import LoadedKernel

ENCODE = {"fp16": to_half, "bf16": to_bfloat}
DECODE = {"fp16": from_half, "bf16": from_bfloat}


@dataclass(frozen=True)
class Case:
    """One operator's problem.

    Attributes:
        operator: Name of the operator.
        shapes: Shape of each input.
        attributes: The node's integer attributes.
        arch: Architecture to compile for.
        dtype: Type of the tensors.
        variant: ``tuned`` or ``small``.
        deviation: Standard deviation of the inputs.
        in_step: Whether position attention is to be the kernel whose warps have no roles.
        padding: Value of what inputs hold behind the output's positions.
    """

    operator: Operator
    shapes: tuple[tuple[int, ...], ...]
    arch: str
    attributes: tuple[tuple[str, int], ...] = ()
    dtype: KernelDtype = "fp16"
    variant: KernelVariant = "tuned"
    deviation: float = 0.6
    in_step: bool = False
    padding: float = float("nan")

    def __str__(self) -> str:
        sizes = "x".join(map(str, self.shapes[-1]))
        pitch = self.shapes[0][-1]
        step = "-in-step" if self.in_step else ""
        padded = f"-padded{pitch}" if pitch != self.shapes[-1][-1] else ""
        return f"{self.operator}-{self.arch}-{self.variant}{step}-{self.dtype}-{sizes}{padded}"


def attention(
    tokens: int, d_qk: int, d_v: int, arch: str, *, batch: int = 1, pitch: int | None = None, **options: Any
) -> Case:
    """Return a case of PositionAttention; with ``pitch``, rows of q, k and v are padded to that many."""
    narrow, wide = ((batch, channels, 1, pitch or tokens) for channels in (d_qk, d_v))
    return Case("PositionAttention", (narrow, narrow, wide, (batch, d_v, 1, tokens)), arch, **options)


def energy(channels: int, tokens: int, slices: int, arch: str, *, batch: int = 1, **options: Any) -> Case:
    """Return a case of ChannelEnergy."""
    return Case("ChannelEnergy", ((batch, channels, 1, tokens),), arch, (("slices", slices),), **options)


def labels(logits: tuple[int, int, int, int], size: tuple[int, int], arch: str, **options: Any) -> Case:
    """Return a case of UpsampleArgmax; ``align_corners`` is among the options."""
    corners = int(options.pop("align_corners", False))
    attributes = (("height", size[0]), ("width", size[1]), ("align_corners", corners))
    return Case("UpsampleArgmax", (logits,), arch, attributes, **options)


@dataclass(frozen=True)
class Outcome:
    """What a launch gave.

    Attributes:
        error: Distance from the truth, as the operator measures it.
        unwritten: Number of two-byte places of the output that nobody wrote.
        twice: Number of those that were written more than once.
        report: The machine's report.
        result: The output's values.
    """

    error: float
    unwritten: int
    twice: int
    report: Report
    result: npt.NDArray[np.float64] = field(repr=False)


def plain(case: Case) -> Case:
    """Return the case without what its kernel does not depend on."""
    return replace(case, deviation=1.0, padding=0.0)


@functools.cache
def compiled(case: Case) -> tuple[KernelSpec, CompiledKernel]:
    """Compile the kernel of a :func:`plain` case, once a process."""
    sizes = OPERATORS[case.operator].sizes(case.shapes, dict(case.attributes))
    module = import_module(f"danet_export.kernels.{OPERATORS[case.operator].stem}")
    specify = module.specify_blocks if case.in_step else module.specify
    spec: KernelSpec = specify(sizes, ARCHITECTURES[case.arch], case.variant)
    return spec, compile_kernel(spec, ARCHITECTURES[case.arch], case.dtype)


def inputs_of(case: Case, seed: int) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[np.float64]]]:
    """Draw each input's bits, and the values that they stand for."""
    random = np.random.default_rng(seed)
    drawn = {}
    for name, shape in zip(OPERATORS[case.operator].inputs, case.shapes, strict=True):
        values = (case.deviation * random.standard_normal(shape)).astype(np.float32)
        if case.operator == "PositionAttention":
            values[..., case.shapes[-1][-1] :] = case.padding
        bits = ENCODE[case.dtype](values)
        drawn[name] = bits, DECODE[case.dtype](bits).astype(np.float64)
    return drawn


Change = Callable[[Kernel, str], tuple[Kernel, str]]
"""Changes a kernel's manifest entry or its text before it is loaded."""


def manifest_entry(spec: KernelSpec, kernel: CompiledKernel, case: Case) -> Kernel:
    """Describe a compiled kernel as a bundle does."""
    return Kernel(
        operator=spec.operator,
        arch=case.arch,
        dtype=case.dtype,
        variant=case.variant,
        ptx=FileRef(path="kernels/kernel.ptx", sha256="0" * 64, bytes=len(kernel.ptx)),
        entry=kernel.entry,
        grid=spec.grid,
        block=kernel.block,
        shared_memory_bytes=kernel.shared_memory_bytes,
        registers=kernel.registers,
        spill_bytes=kernel.spill_bytes,
        ptx_version=kernel.ptx_version,
        shape=dict(spec.shape),
    )


def execute(
    case: Case, seed: int = 0, change: Change | None = None, order: Sequence[int] | None = None
) -> Outcome:
    """Launch a case's kernel.

    Args:
        case: The problem.
        seed: Seed of the inputs and of the warps' order.
        change: What is changed beforehand.
        order: Places of the pointers in the launch, instead of inputs and output in their order.

    Raises:
        Fault: The kernel does what it must not.
        BackendError: The driver refuses it.
    """
    spec, kernel = compiled(plain(case))
    entry, text = manifest_entry(spec, kernel, case), kernel.ptx
    if change is not None:
        entry, text = change(entry, text)
    cuda = ExecutingCuda(case.arch, ARCHITECTURES[case.arch].shared_memory_limit, seed)
    drawn = inputs_of(case, seed)
    pointers = [cuda.memory.put(name, bits).address for name, (bits, _) in drawn.items()]
    operator = OPERATORS[case.operator]
    shape = output_shape(operator, case.shapes, dict(case.attributes))
    wide = operator.output_type == "fp32"
    output = cuda.memory.allocate("output", int(np.prod(shape)) * (4 if wide else 2))
    pointers.append(output.address)
    driver = CudaDriver(cast("ModuleType", cuda))
    try:
        loaded = driver.load(LoadedKernel(entry, text.encode("ascii")))
        driver.launch(loaded, 0, [pointers[place] for place in order] if order else pointers)
    except BackendError:
        if cuda.faults:
            raise cuda.faults[0] from None
        raise
    raw = cuda.memory.read(output)
    result = (raw.view(np.float32) if wide else DECODE[case.dtype](raw.view(np.uint16))).reshape(shape)
    truth = code_of(case.operator).reference(
        {name: values for name, (_, values) in drawn.items()}, _attributes(case)
    )
    writes = cuda.memory.writes(output)
    return Outcome(
        error=operator.error(result, truth),
        unwritten=int((writes == 0).sum()),
        twice=int((writes > 1).sum()),
        report=cuda.reports[0],
        result=result.astype(np.float64),
    )


def _attributes(case: Case) -> Mapping[str, int]:
    return dict(case.attributes)
