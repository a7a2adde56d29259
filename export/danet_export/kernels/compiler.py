"""Compiles a specification to PTX, for any architecture and without a GPU."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource

from danet_export.errors import ExportError
from danet_export.kernels import ptx as ptx_text
from danet_export.kernels.architectures import Architecture
from danet_export.kernels.ptx_rules import check_rules
from danet_export.kernels.specification import KernelSpec
from danet_runtime.bundle.manifest import KernelDtype

POINTER_ALIGNMENT = 16
"""Alignment of every tensor's address in bytes. TensorRT, PyTorch and cudaMalloc give 256."""

WARP = 32


@dataclass(frozen=True)
class CompiledKernel:
    """PTX whose only parameters are the operator's tensors, and its launch.

    Attributes:
        ptx: Text of the PTX.
        entry: Name of the kernel in it.
        ptx_version: Version of the PTX, as ``8.5``.
        block: Threads in x, y and z.
        shared_memory_bytes: Dynamic shared memory per block.
        registers: Registers per thread, as ptxas assigns them.
        spill_bytes: Bytes that a thread stores and loads because registers are short.
    """

    ptx: str
    entry: str
    ptx_version: str
    block: tuple[int, int, int]
    shared_memory_bytes: int
    registers: int
    spill_bytes: int


def compile_kernel(spec: KernelSpec, architecture: Architecture, dtype: KernelDtype) -> CompiledKernel:
    """Compile one kernel, and have ptxas assemble the result.

    Args:
        spec: The kernel to compile.
        architecture: Architecture of the GPU.
        dtype: Type of the operator's floating-point tensors.

    Raises:
        ExportError: The kernel needs more than the architecture has, or something that a plugin cannot
            provide; its PTX breaks a rule (:mod:`danet_export.kernels.ptx_rules`); or Triton or ptxas failed.
    """
    name = f"{spec.operator} for {architecture.name}"
    compiled = _run_triton(spec, architecture, dtype, name)
    metadata = compiled.metadata
    scratch = metadata.global_scratch_size + getattr(metadata, "profile_scratch_size", 0)
    if scratch or metadata.num_ctas != 1:
        raise ExportError(
            f"{name}: expected a kernel without scratch memory and clusters, got {scratch} bytes and "
            f"{metadata.num_ctas} blocks a cluster; neither can be given to it inside an engine"
        )
    warps = spec.options.warps + spec.options.workers
    if metadata.num_warps != warps:
        raise ExportError(f"{name}: expected a block of {warps} warps, got {metadata.num_warps}")
    check_shared_memory(spec, architecture, metadata.shared)
    ptx = ptx_text.remove_scratch_parameters(compiled.asm["ptx"], len(spec.pointers))
    ptx = ptx_text.remove_unread_strings(ptx)
    ptx = ptx_text.align_shared_memory(ptx_text.name_shared_stores(ptx))
    try:
        check_rules(ptx, WARP * metadata.num_warps)
    except ptx_text.PtxError as error:
        raise ExportError(f"{name}: {error}; install the Triton release that constraints.txt names") from None
    target = ptx_text.ptx_target(ptx)
    if target.rstrip("a") != architecture.name:
        raise ExportError(f"{name}: Triton wrote PTX for {target}")
    resources = ptx_text.read_resources(_assemble(ptx, architecture, target, name))
    return CompiledKernel(
        ptx=ptx,
        entry=ptx_text.entry_name(ptx),
        ptx_version=ptx_text.ptx_version(ptx),
        block=(WARP * metadata.num_warps, 1, 1),
        shared_memory_bytes=metadata.shared,
        registers=resources.registers,
        spill_bytes=resources.spill_bytes,
    )


def check_shared_memory(spec: KernelSpec, architecture: Architecture, used: int) -> None:
    """Refuse a kernel that uses more shared memory than its variant may on an architecture.

    Args:
        spec: The compiled kernel.
        architecture: Architecture of the GPU.
        used: Dynamic shared memory of a block, in bytes.

    Raises:
        ExportError: The kernel uses too much.
    """
    limit = architecture.shared_memory_of(spec.variant)
    if used > limit:
        sizes = ", ".join(f"{name}={size}" for name, size in spec.shape.items())
        raise ExportError(
            f"{spec.operator} for {architecture.name}, {spec.variant}: {used} bytes of shared memory, "
            f"expected at most {limit} ({sizes}; Triton {triton_version()}); leave {architecture.name} out "
            "of --kernels, or install the Triton release that constraints.txt names"
        )


def triton_version() -> str:
    """Return the version of Triton."""
    return str(triton.__version__)


def compile_options(spec: KernelSpec, architecture: Architecture) -> dict[str, int | bool]:
    """Return Triton's options; everything that changes code is set, nothing is left to a default."""
    options: dict[str, int | bool] = {
        "num_warps": spec.options.warps,
        "num_stages": spec.options.stages,
        "enable_fp_fusion": spec.options.fuse_multiply_add,
        "ptx_version": architecture.ptx_version,
    }
    if spec.options.max_registers is not None:
        options["maxnreg"] = spec.options.max_registers
    return options


def _run_triton(spec: KernelSpec, architecture: Architecture, dtype: KernelDtype, name: str) -> Any:  # noqa: ANN401
    signature = {pointer: f"*{kind or dtype}" for pointer, kind in spec.pointers.items()}
    signature |= dict.fromkeys(spec.constants, "constexpr")
    aligned = {(index,): [["tt.divisibility", POINTER_ALIGNMENT]] for index in range(len(spec.pointers))}
    source_kind = ASTSource
    if spec.function.is_gluon():
        from triton.experimental.gluon import GluonASTSource

        source_kind = GluonASTSource
    source = source_kind(spec.function, signature, constexprs=dict(spec.constants), attrs=aligned)
    target = GPUTarget("cuda", architecture.capability, WARP)
    with knobs.compilation.scope():
        knobs.compilation.disable_line_info = True  # it would write this machine's paths into the PTX
        try:
            return triton.compile(source, target=target, options=compile_options(spec, architecture))
        except Exception as error:
            raise ExportError(f"{name}: Triton {triton_version()} could not compile it: {error}") from error


def _assemble(ptx: str, architecture: Architecture, target: str, name: str) -> str:
    """Return the output of ptxas; the machine code is discarded, because a driver makes its own."""
    with tempfile.TemporaryDirectory(prefix="danet-ptxas-") as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx, encoding="ascii")
        done = subprocess.run(
            [
                get_ptxas(architecture.capability).path,
                *("-v", f"--gpu-name={target}"),
                *(str(source), "-o", str(source.with_suffix(".cubin"))),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise ExportError(f"{name}: ptxas refuses the PTX: {done.stderr.strip()[:500]}")
    return done.stderr
