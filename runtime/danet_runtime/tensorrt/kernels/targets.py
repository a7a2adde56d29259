"""The GPU architectures that ``danet export`` compiles kernels for, and the command that does it.

The table stands here and not in the export package, which builds upon it, so that a vehicle without that
package can say what would help.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from danet_runtime.tensorrt.kernels.ptx import Release


@dataclass(frozen=True)
class KernelTarget:
    """One architecture.

    Attributes:
        ptx: PTX version of the kernels: the newest that the oldest supported driver reads.
        bfloat16: Whether its matrix units take BF16.
    """

    ptx: Release
    bfloat16: bool = True


# PTX 8.5 is the newest that CUDA 12.6 reads, the driver of JetPack 6. sm_100 and sm_120 begin with PTX 8.6
# and 8.7, which CUDA 12.8, the first release for both, reads. sm_110 is known from PTX 9.0 on: CUDA 13.0,
# the driver of JetPack 7.
KERNEL_TARGETS: Final[Mapping[str, KernelTarget]] = {
    "sm_75": KernelTarget((8, 5), bfloat16=False),
    "sm_80": KernelTarget((8, 5)),
    "sm_86": KernelTarget((8, 5)),
    "sm_87": KernelTarget((8, 5)),
    "sm_89": KernelTarget((8, 5)),
    "sm_90": KernelTarget((8, 5)),
    "sm_100": KernelTarget((8, 7)),
    "sm_110": KernelTarget((9, 0)),
    "sm_120": KernelTarget((8, 7)),
}
"""By name."""

WITHOUT_KERNELS: Final = "build without kernels (`danet build --attention native`, or `reference`)"
"""Advice where no kernel fits the GPU; ``native`` needs TensorRT 10.14 or TensorRT for RTX."""


def target_of(arch: str) -> KernelTarget | None:
    """Return the kernel target for an architecture's name, or ``None``; ``sm_90a`` is served by ``sm_90``."""
    return KERNEL_TARGETS.get(arch.rstrip("a"))


def remedy(arch: str, dtype: str = "fp16") -> str:
    """Return advice, as an imperative, for a bundle that lacks kernels for an architecture.

    Args:
        arch: Architecture of the GPU, for example ``sm_87``.
        dtype: Data type of the kernels.
    """
    target = target_of(arch)
    if target is None:
        return f"{WITHOUT_KERNELS}: `danet export` compiles kernels for {', '.join(KERNEL_TARGETS)} only"
    if dtype == "bf16" and not target.bfloat16:
        return f"take the fp16 kernels: {arch} has no BF16 matrix units"
    option = "" if dtype == "fp16" else f" --kernel-dtype {dtype}"
    return (
        "export the bundle again with `danet export CHECKPOINT --output BUNDLE --size HxW "
        f"--kernels {arch.rstrip('a')}{option}`"
    )
