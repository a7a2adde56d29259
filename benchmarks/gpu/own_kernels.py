"""Our kernels on this GPU, two ways: as Triton launches them, and as a bundle's PTX through the CUDA driver.

The second is the very code that a plugin runs: the runtime's own driver, the manifest's launch parameters.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from benchmarks.gpu.cases import problem
from benchmarks.gpu.measurement import DEVICE, relative_error
from danet_export.kernels import position_attention
from danet_export.kernels.architectures import ARCHITECTURES, KernelRequest, find_architectures
from danet_export.kernels.bundle_kernels import specify, write_kernels
from danet_export.kernels.specification import KernelSpec
from danet_runtime.bundle import Bundle, BundleWriter
from danet_runtime.bundle.manifest import KernelDtype, KernelVariant
from danet_runtime.bundle.operators import Operator
from danet_runtime.tensorrt.cuda.driver import cuda_driver
from danet_runtime.tensorrt.kernels.kernels import LoadedKernel, select_kernels

JIT_TOLERANCE = 1e-3
"""Largest relative difference of the bundle's PTX from the kernel as Triton launches it."""


@dataclass(frozen=True)
class BundleKernels:
    """The kernels of one size and type for one architecture.

    Attributes:
        kernels: By operator and variant.
        triton: The version of Triton that compiled them.
    """

    kernels: dict[tuple[Operator, KernelVariant], LoadedKernel]
    triton: str


def device_architecture() -> str:
    """The architecture of the current GPU, as ``sm_90``."""
    return "sm_{}{}".format(*torch.cuda.get_device_capability())


def has_bf16() -> bool:
    """Whether the current GPU takes the kernels in BF16."""
    return ARCHITECTURES[device_architecture()].bfloat16


def find_kernels(tokens: int, dtype: KernelDtype, arch: str, folder: Path | None = None) -> BundleKernels:
    """A bundle's kernels; made here, as ``danet export`` makes them, where none is given.

    Raises:
        BackendError: The bundle holds none for this architecture and type.
        SystemExit: The bundle's kernels are for another N.
    """
    if folder is None:
        return _make_kernels(tokens, dtype, arch)
    bundle = Bundle.open(folder)
    kernels = {
        (operator, variant): loaded
        for variant in get_args(KernelVariant)
        for operator, loaded in select_kernels(bundle, arch, dtype, variant).items()
    }
    held = {loaded.kernel.shape["tokens"] for loaded in kernels.values() if "tokens" in loaded.kernel.shape}
    if held != {tokens}:
        raise SystemExit(f"{folder} holds kernels for N = {sorted(held)}; give --tokens with that alone")
    return BundleKernels(kernels, bundle.manifest.provenance.tools.get("triton", "unknown"))


def find_spec(operator: Operator, tokens: int, variant: KernelVariant, arch: str) -> KernelSpec:
    """The kernel that Triton compiles for one operator."""
    specs = specify(problem(tokens), ARCHITECTURES[arch], variant)
    return next(spec for spec in specs if spec.operator == operator)


def find_spec_in_step(tokens: int, arch: str) -> KernelSpec | None:
    """Position attention whose warps go in step; ``None`` where the tuned kernel is just that."""
    tuned = find_spec("PositionAttention", tokens, "tuned", arch)
    sizes = problem(tokens)["PositionAttention"]
    in_step = position_attention.specify_blocks(sizes, ARCHITECTURES[arch], "tuned")
    return None if in_step.function is tuned.function else in_step


def launch_jit(spec: KernelSpec, inputs: Sequence[Tensor], output: Tensor) -> Tensor:
    """Run a kernel as this machine's Triton compiles and launches it; returns the output."""
    from danet_export.ops.execution import launch

    launch(spec, *inputs, output)
    return output


class PtxLauncher:
    """A bundle's kernel, loaded into PyTorch's CUDA context.

    Args:
        loaded: Code and launch parameters.

    Raises:
        BackendError: The driver does not take it.
    """

    def __init__(self, loaded: LoadedKernel) -> None:
        torch.empty(1, device=DEVICE)  # makes PyTorch's context the current one
        self._driver = cuda_driver()
        self._launchable = self._driver.load(loaded)

    def __call__(self, inputs: Sequence[Tensor], output: Tensor) -> Tensor:
        """Run it on PyTorch's current stream; returns the output."""
        pointers = [tensor.data_ptr() for tensor in (*inputs, output)]
        self._driver.launch(self._launchable, torch.cuda.current_stream().cuda_stream, pointers)
        return output


def differences(ptx: Tensor, jit: Tensor) -> dict[str, bool | float]:
    """How the result of a bundle's PTX differs from that of the kernel as Triton launches it."""
    return {"bits_equal_to_jit": torch.equal(ptx, jit), "difference_from_jit": relative_error(ptx, jit)}


def difference_problem(row: dict[str, bool | float], same_triton: bool) -> str | None:
    """The failure in these differences, if any: none may be there where both come from one Triton."""
    difference = row["difference_from_jit"]
    if same_triton and not row["bits_equal_to_jit"]:
        return f"not bit for bit the JIT kernel of the same Triton (relative difference {difference:.1e})"
    if not difference <= JIT_TOLERANCE:
        return f"relative difference {difference:.1e} > {JIT_TOLERANCE:.0e} from the JIT kernel"
    return None


def _make_kernels(tokens: int, dtype: KernelDtype, arch: str) -> BundleKernels:
    from danet_export.kernels.compiler import triton_version

    request = KernelRequest(find_architectures([arch], dtype), dtype)
    with tempfile.TemporaryDirectory() as folder:
        writer = BundleWriter(Path(folder))
        made = write_kernels(request, problem(tokens), writer, lambda _: None)
        kernels: dict[tuple[Operator, KernelVariant], LoadedKernel] = {
            (kernel.operator, kernel.variant): LoadedKernel(
                kernel, (Path(folder) / kernel.ptx.path).read_bytes().rstrip(b"\0")
            )
            for kernel in made
        }
    return BundleKernels(kernels, triton_version())
