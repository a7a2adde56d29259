"""The GPU architectures that kernels are compiled for, and what each of them allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from danet_runtime.errors import UsageError

KernelDtype = Literal["fp16", "bf16"]
KernelVariant = Literal["tuned", "small"]

SMALL_SHARED_MEMORY = 48 * 1024
"""Shared memory that every launch may use without asking the driver for more, in bytes a block."""


@dataclass(frozen=True)
class Architecture:
    """One compute capability.

    Attributes:
        name: As in a bundle: ``sm_87``.
        capability: As Triton counts: 87.
        shared_memory_limit: Largest dynamic shared memory of a block, in bytes.
        ptx_version: Newest PTX that the oldest driver to be served reads, as 85 for 8.5.
        bfloat16: Whether its matrix units take BF16.
    """

    name: str
    capability: int
    shared_memory_limit: int
    ptx_version: int
    bfloat16: bool = True


@dataclass(frozen=True)
class KernelRequest:
    """What ``danet export --kernels`` asks for."""

    architectures: Sequence[Architecture]
    dtype: KernelDtype


def _architecture(
    capability: int, shared_kib: int, ptx_version: int, *, bfloat16: bool = True
) -> Architecture:
    return Architecture(f"sm_{capability}", capability, shared_kib * 1024, ptx_version, bfloat16)


# PTX 8.5 is the newest that CUDA 12.6 reads, the driver of JetPack 6. sm_100 and sm_120 begin with PTX 8.6
# and 8.7, which CUDA 12.8, the first release for both, reads. sm_110 is known from PTX 9.0 on: CUDA 13.0,
# the driver of JetPack 7.
ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        _architecture(75, 64, 85, bfloat16=False),
        _architecture(80, 163, 85),
        _architecture(86, 99, 85),
        _architecture(87, 163, 85),
        _architecture(89, 99, 85),
        _architecture(90, 227, 85),
        _architecture(100, 227, 87),
        _architecture(110, 227, 90),
        _architecture(120, 99, 87),
    )
}
"""By name. Shared memory limits: CUDA C++ Programming Guide, technical specifications."""


def find_architectures(names: Sequence[str], dtype: KernelDtype) -> list[Architecture]:
    """The architectures of these names, each once, in the order given.

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
