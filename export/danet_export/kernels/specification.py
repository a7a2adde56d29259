"""What one kernel is before it is compiled: its code, its constants and how it is launched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from danet_runtime.bundle.manifest import KernelVariant
from danet_runtime.bundle.operators import Operator, Sizes


@dataclass(frozen=True)
class LaunchOptions:
    """What the compiler is told beside the constants.

    Attributes:
        warps: Of a block.
        stages: Of the software pipeline over the innermost loop.
        fuse_multiply_add: Whether a multiplication and an addition may be rounded once. It is always said:
            Triton's own default has changed between releases.
    """

    warps: int
    stages: int
    fuse_multiply_add: bool = True


@dataclass(frozen=True)
class KernelSpec:
    """One kernel for one problem.

    Attributes:
        operator: Of the domain ``danet``.
        function: The Triton function. Its parameters are the pointers, inputs before outputs, and then
            constants alone.
        pointers: Names of the pointer parameters, each with the element type of its tensor: ``None`` for the
            operator's own floating-point type, or Triton's name of another one.
        constants: Every other parameter.
        grid: Blocks in x, y and z.
        options: For the compiler.
        variant: Decides how much shared memory the compiled kernel may use.
        shape: The sizes that the constants were made of, by the names that a manifest gives them.
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
    """How many blocks of ``block`` cover ``extent``."""
    return -(-extent // block)


def next_power_of_two(value: int, least: int = 16) -> int:
    """The smallest power of two that is at least ``value`` and at least ``least``."""
    return max(least, 1 << (value - 1).bit_length())
