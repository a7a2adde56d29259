"""The GPU architectures that kernels are compiled for, and their limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from danet_runtime.bundle.manifest import KernelDtype, KernelVariant
from danet_runtime.errors import UsageError
from danet_runtime.tensorrt.kernels.ptx import dotted
from danet_runtime.tensorrt.kernels.targets import KERNEL_TARGETS

SMALL_SHARED_MEMORY = 48 * 1024
"""Shared memory that every launch may use without asking the driver for more, in bytes per block."""


@dataclass(frozen=True)
class Architecture:
    """One compute capability.

    Attributes:
        name: Name as in a bundle: ``sm_87``.
        capability: Compute capability as Triton writes it: 87.
        shared_memory_limit: Largest dynamic shared memory of a block, in bytes.
        ptx_version: Newest PTX that the oldest driver to be served reads, as 85 for 8.5.
        bfloat16: Whether the matrix units compute in BF16.
    """

    name: str
    capability: int
    shared_memory_limit: int
    ptx_version: int
    bfloat16: bool = True

    def shared_memory_of(self, variant: KernelVariant) -> int:
        """Return the most dynamic shared memory that a block of a variant may use, in bytes."""
        return (
            min(SMALL_SHARED_MEMORY, self.shared_memory_limit)
            if variant == "small"
            else self.shared_memory_limit
        )


@dataclass(frozen=True)
class KernelRequest:
    """Architectures and type of the kernels to compile, from ``danet export --kernels``."""

    architectures: Sequence[Architecture]
    dtype: KernelDtype


# CUDA C++ Programming Guide, technical specifications: KiB of dynamic shared memory that a block may have.
_SHARED_KIB = {
    **{"sm_75": 64, "sm_80": 163, "sm_86": 99, "sm_87": 163, "sm_89": 99},
    **{"sm_90": 227, "sm_100": 227, "sm_110": 227, "sm_120": 99},
}
ARCHITECTURES = {
    name: Architecture(
        name,
        capability=int(name.removeprefix("sm_")),
        shared_memory_limit=_SHARED_KIB[name] * 1024,
        ptx_version=int(dotted(target.ptx).replace(".", "")),
        bfloat16=target.bfloat16,
    )
    for name, target in KERNEL_TARGETS.items()
}
"""Every architecture of the runtime's table by name, with the values that the compiler needs."""


def find_architectures(names: Sequence[str], dtype: KernelDtype) -> list[Architecture]:
    """Return the architectures of these names, each once, in the given order.

    Raises:
        UsageError: A name is unknown, none is given, or an architecture does not compute in ``dtype``.
    """
    found = []
    for name in dict.fromkeys(names):
        if name not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise UsageError(f"kernels can be compiled for {known} (got {name!r})")
        architecture = ARCHITECTURES[name]
        if dtype == "bf16" and not architecture.bfloat16:
            raise UsageError(f"{name} has no BF16 matrix units; compile its kernels with --kernel-dtype fp16")
        found.append(architecture)
    if not found:
        raise UsageError(f"name at least one architecture, of {', '.join(ARCHITECTURES)}")
    return found
