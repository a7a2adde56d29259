"""Specification of one kernel before it is compiled: its code, its constants and its launch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from danet_runtime.bundle.manifest import KernelVariant
from danet_runtime.bundle.operators import Operator, Sizes


@dataclass(frozen=True)
class LaunchOptions:
    """Options of the compiler beside the constants.

    Attributes:
        warps: Warps per block.
        stages: Stages of the software pipeline over the innermost loop.
        fuse_multiply_add: Whether a multiplication and an addition may be rounded once. It is always set:
            Triton's own default has changed between releases.
        workers: Further warps of a block, where the code gives warps roles (Gluon's ``warp_specialize``).
        max_registers: Most registers of a thread, which stands in the PTX and holds for the driver's compiler
            too; ``None`` for no limit but the hardware's.
    """

    warps: int
    stages: int
    fuse_multiply_add: bool = True
    workers: int = 0
    max_registers: int | None = None


@dataclass(frozen=True)
class KernelSpec:
    """One kernel for one problem.

    Attributes:
        operator: Operator of the domain ``danet``.
        function: The function, of Triton or of its Gluon. Its parameters are the pointers, inputs before
            outputs, and then constants alone.
        pointers: Names of the pointer parameters, each with the element type of its tensor: ``None`` for the
            operator's own floating-point type, or Triton's name of another one.
        constants: Every other parameter.
        grid: Blocks in x, y and z.
        options: Options of the compiler.
        variant: Variant, which decides how much shared memory the compiled kernel may use.
        shape: The sizes that the constants were made from, by their names in a manifest.
    """

    operator: Operator
    function: Any
    pointers: Mapping[str, str | None]
    constants: Mapping[str, int | bool]
    grid: tuple[int, int, int]
    options: LaunchOptions
    variant: KernelVariant
    shape: Sizes


def blocks(extent: int, block: int) -> int:
    """Return the number of blocks of ``block`` that cover ``extent``."""
    return -(-extent // block)


def next_power_of_two(value: int, least: int = 16) -> int:
    """Return the smallest power of two that is at least ``value`` and at least ``least``."""
    return max(least, 1 << (value - 1).bit_length())
