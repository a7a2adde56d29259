"""The toy operator's kernel."""

from __future__ import annotations

import triton
import triton.language as tl

from danet_export.kernels.specification import KernelSpec, LaunchOptions, blocks

BLOCK = 256


@triton.jit
def halve(x, output, VALUES: tl.constexpr, BLOCK: tl.constexpr):  # noqa: N803 - constants
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + at, mask=at < VALUES, other=0.0).to(tl.float32)
    tl.store(output + at, (value * 0.5).to(output.dtype.element_ty), mask=at < VALUES)


def specify(sizes, _architecture, variant):
    return KernelSpec(
        operator="Halve",
        function=halve,
        pointers={"x": None, "output": None},
        constants={"VALUES": sizes["values"], "BLOCK": BLOCK},
        grid=(blocks(sizes["values"], BLOCK), 1, 1),
        options=LaunchOptions(warps=4, stages=1),
        variant=variant,
        shape=sizes,
    )
