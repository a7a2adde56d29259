"""Choosing a bundle's kernels for a GPU, and refusing in words what a GPU or its driver would not take."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from danet_runtime.bundle.manifest import Kernel, KernelDtype, KernelVariant
from danet_runtime.bundle.operators import OPERATORS, Operator
from danet_runtime.bundle.reader import Bundle
from danet_runtime.errors import BackendError, BundleError
from danet_runtime.files.atomic import sha256_of
from danet_runtime.tensorrt.kernels.ptx import Release, dotted, newest_ptx, oldest_cuda, read_header
from danet_runtime.tensorrt.kernels.targets import WITHOUT_KERNELS, remedy, target_of


@dataclass(frozen=True)
class LoadedKernel:
    """A kernel with its code, which has been checked against the manifest.

    Attributes:
        kernel: Launch parameters and shapes.
        ptx: The code, as text without a NUL at its end.
    """

    kernel: Kernel
    ptx: bytes

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the code; made once, since a plugin asks for its kernel again and again."""
        return sha256_of(self.ptx)


def select_kernels(
    bundle: Bundle,
    arch: str,
    dtype: KernelDtype,
    variant: KernelVariant = "tuned",
    *,
    driver_cuda: Release | None = None,
    operators: Sequence[Operator] = tuple(OPERATORS),
) -> dict[Operator, LoadedKernel]:
    """The kernel of each operator for one GPU.

    Args:
        bundle: Bundle that holds the kernels.
        arch: The GPU's architecture, as ``sm_87``.
        dtype: Type of the operators' tensors.
        variant: ``small`` needs at most 48 KiB of shared memory.
        driver_cuda: The CUDA release of the driver that will load them; unchecked where it is not given.
        operators: Operators that need a kernel.

    Raises:
        BackendError: The bundle holds none for this GPU, type or variant, or the driver is too old for it.
        BundleError: A file is not what the manifest says.
    """
    return {
        operator: _load(bundle, _choose(bundle, operator, arch, dtype, variant), driver_cuda)
        for operator in operators
    }


def check_device(kernel: Kernel, arch: str, driver_cuda: Release | None) -> None:
    """Refuse a kernel that a device or its driver would not take.

    Raises:
        BackendError: Another architecture, or PTX newer than the driver.
    """
    if kernel.arch not in _served_by(arch):
        raise BackendError(
            f"expected a kernel for this GPU's architecture {arch}, {kernel.ptx.path} is compiled for "
            f"{kernel.arch}; build the engine on this device; if the bundle holds no kernels for it, "
            f"{remedy(arch, kernel.dtype)}"
        )
    if driver_cuda is None:
        return
    needed = _release(kernel.ptx_version)
    newest = newest_ptx(driver_cuda)
    if needed > newest:
        cuda = oldest_cuda(needed)
        update = f"one of CUDA {dotted(cuda)} or later" if cuda else "a newer one"
        target = target_of(arch)
        exported_helps = target is not None and target.ptx <= newest
        otherwise = remedy(arch, kernel.dtype) if exported_helps else WITHOUT_KERNELS
        raise BackendError(
            f"the driver (CUDA {dotted(driver_cuda)}) reads PTX up to {dotted(newest)}, {kernel.ptx.path} "
            f"for {kernel.arch} is PTX {kernel.ptx_version}; update the driver to {update}, or {otherwise}"
        )


def _choose(bundle: Bundle, operator: Operator, arch: str, dtype: str, variant: str) -> Kernel:
    kernels = bundle.manifest.kernels
    todo = remedy(arch, dtype)
    if not kernels:
        also = f", or {WITHOUT_KERNELS}" if target_of(arch) else ""
        raise BackendError(
            f"this GPU is {arch}; {bundle.path} holds no attention kernels at all: {todo}{also}"
        )
    for_arch = [kernel for kernel in kernels if kernel.arch in _served_by(arch)]
    if not for_arch:
        raise BackendError(
            f"this GPU is {arch}; {bundle.path} holds kernels for "
            f"{_listed(kernel.arch for kernel in kernels)} only: {todo}"
        )
    for_operator = [kernel for kernel in for_arch if kernel.operator == operator]
    if not for_operator:
        raise BackendError(
            f"{bundle.path} holds no kernel of {operator} for {arch}; for that GPU it holds only kernels of "
            f"{_listed(kernel.operator for kernel in for_arch)}: {todo}"
        )
    fitting = [kernel for kernel in for_operator if (kernel.dtype, kernel.variant) == (dtype, variant)]
    if not fitting:
        held = _listed(f"{kernel.dtype} {kernel.variant}" for kernel in for_operator)
        raise BackendError(
            f"expected a kernel of {operator} for {arch} in {dtype} {variant}, {bundle.path} holds {held}; "
            f"choose one of these, or {todo}"
        )
    if len(fitting) > 1:
        raise BundleError(
            f"expected one kernel of {operator} for {arch} in {dtype} {variant}, {bundle.path} holds "
            f"{_listed(kernel.ptx.path for kernel in fitting)}: {todo}"
        )
    return fitting[0]


def _load(bundle: Bundle, kernel: Kernel, driver_cuda: Release | None) -> LoadedKernel:
    origin = f"{bundle.path / kernel.ptx.path}"
    ptx = bundle.read(kernel.ptx).rstrip(b"\x00")
    header = read_header(ptx, origin)
    if header.target not in _served_by(kernel.arch):
        raise BundleError(
            f"{origin}: the manifest says {kernel.arch}, the file's .target is {header.target}: "
            f"{remedy(kernel.arch, kernel.dtype)}"
        )
    if dotted(header.version) != kernel.ptx_version:
        raise BundleError(
            f"{origin}: the manifest says PTX {kernel.ptx_version}, the file's .version is "
            f"{dotted(header.version)}: {remedy(kernel.arch, kernel.dtype)}"
        )
    entry = next((entry for entry in header.entries if entry.name == kernel.entry), None)
    if entry is None:
        names = _listed(entry.name for entry in header.entries)
        raise BundleError(
            f"{origin}: expected the entry {kernel.entry}, found {names}: {remedy(kernel.arch, kernel.dtype)}"
        )
    expected = OPERATORS[kernel.operator].parameters
    if entry.parameters != expected or entry.pointers != expected:
        # Triton appends scratch pointers that nobody passes here; the launch would read beyond them.
        raise BundleError(
            f"{origin}: expected {expected} pointers as parameters of {kernel.operator} (its inputs and its "
            f"output), found {entry.parameters} parameters, {entry.pointers} of them pointers: "
            f"{remedy(kernel.arch, kernel.dtype)}"
        )
    check_device(kernel, kernel.arch, driver_cuda)
    return LoadedKernel(kernel, ptx)


def _served_by(arch: str) -> tuple[str, ...]:
    # sm_90a is sm_90 with instructions that no other architecture has; the GPU itself reports sm_90.
    return (arch, f"{arch}a")


def _release(version: str) -> Release:
    major, minor = version.split(".")
    return int(major), int(minor)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
