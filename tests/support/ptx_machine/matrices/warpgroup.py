"""``wgmma``: matrix products of four warps, which read shared memory by descriptors and end when waited for.

A descriptor holds, in units of 16 bytes, the start (bits 0 to 13), the leading (16 to 29) and the stride
byte offset (32 to 45), and in bits 62 and 63 how rows are swizzled: not, 128, 64 or 32 bytes wide (PTX ISA,
"Asynchronous warpgroup level matrix shared memory layout").
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from ptx_machine.arithmetic import Array
from ptx_machine.faults import Fault
from ptx_machine.matrices.fragments import accumulator, accumulator_registers, decode, left_operand
from ptx_machine.memory.shared_memory import GRANULE, SharedMemory
from ptx_machine.warp import Warp

_DEPTH: Final = 16  # K of 16-bit elements
_ROW_BYTES: Final = (16, 128, 64, 32)  # by the two bits of the swizzle; 16: no swizzle


@dataclass(frozen=True)
class Layout:
    """Where an operand of 16-bit elements stands: offsets, and width of its swizzled rows, in bytes."""

    start: int
    leading: int
    stride: int
    row_bytes: int


@lru_cache(maxsize=512)
def element_addresses(layout: Layout, extent: int, *, contiguous_k: bool) -> npt.NDArray[np.int64]:
    """Return the (16, extent) addresses of an operand's elements: K down, M or N across.

    Rows of eight times 16 bytes make up a core matrix; swizzling exchanges 16-byte units within rows of
    ``row_bytes`` by the bits of the address that count the rows.
    """
    k, mn = np.arange(_DEPTH, dtype=np.int64)[:, None], np.arange(extent, dtype=np.int64)[None, :]
    wide, plain = layout.row_bytes, layout.row_bytes == _ROW_BYTES[0]
    if contiguous_k and plain:
        linear = mn % 8 * 16 + mn // 8 * layout.stride + k % 8 * 2 + k // 8 * layout.leading
    elif contiguous_k:
        linear = mn % 8 * wide + mn // 8 * layout.stride + k * 2
    elif plain:
        linear = mn % 8 * 2 + mn // 8 * layout.stride + k % 8 * 16 + k // 8 * layout.leading
    else:
        each = wide // 2
        linear = mn % each * 2 + mn // each * layout.leading + k % 8 * wide + k // 8 * layout.stride
    linear = linear + layout.start
    swizzled: npt.NDArray[np.int64] = linear ^ ((linear >> 7 & wide // 16 - 1) << 4)
    return swizzled


def operand_places(
    shared: SharedMemory, layout: Layout, extent: int, line: int, *, contiguous_k: bool
) -> npt.NDArray[np.int64]:
    """Return the (16, extent) places in the records of shared memory of an operand, which must lie inside."""
    at = element_addresses(layout, extent, contiguous_k=contiguous_k) - shared.base
    if at.min() < 0 or at.max() + 2 > shared.size:
        raise Fault(
            "shared-out-of-bounds", f"line {line}: an operand up to byte {at.max() + 2} of {shared.size}"
        )
    return at // GRANULE


class Pending:
    """A register that a product in flight will write."""

    __slots__ = ("value",)

    def __init__(self, value: Array) -> None:
        self.value = value


@dataclass(frozen=True)
class ProductForm:
    """What an instruction fixes: N, the elements' type, signs of A and B, whether K is contiguous in each."""

    columns: int
    kind: str
    signs: tuple[int, int]
    contiguous_k: tuple[bool, bool]
    line: int


@dataclass(frozen=True)
class _Product:
    """What is freed when a product has been waited for."""

    results: tuple[tuple[int, Pending], ...]
    number: int
    operands: Counter[int]


class Products:
    """The products of one warp, which has 16 of a warpgroup's 64 rows."""

    def __init__(self, warp: Warp) -> None:
        self._warp = warp
        self._groups: list[list[_Product]] = []
        self._open: list[_Product] = []
        self.fenced = False  # a wgmma.fence stands since the last wait

    def issue(
        self, form: ProductForm, targets: tuple[int, ...], a: tuple[int, ...] | Array, b: Array, keep: Array
    ) -> None:
        """Begin ``wgmma.mma_async``; ``targets``, and ``a`` where it is in registers, are places."""
        warp, line = self._warp, form.line
        if not self.fenced:
            raise Fault("missing-wgmma-fence", f"line {line}: no wgmma.fence since the last wait")
        number = warp.shared.clocks.begin(warp.shared.clocks.products_of(warp.index))
        operands: Counter[int] = Counter()
        if isinstance(a, tuple):
            left = left_operand(np.stack([warp.registers[index] for index in a]), form.kind)
            operands.update(a)
        else:
            rows = slice(16 * (warp.index % 4), 16 * (warp.index % 4) + 16)
            at = self._places(a, 64, form, contiguous_k=form.contiguous_k[0])[:, rows]
            left = self._read(at, number, form).T
        at = self._places(b, form.columns, form, contiguous_k=form.contiguous_k[1])
        right = self._read(at, number, form)
        result = form.signs[0] * left @ (form.signs[1] * right)
        if warp.uniform(keep, line, "scale of the accumulator"):
            before = [warp.registers[index] for index in targets]
            result = result + accumulator(
                np.stack([each.value if isinstance(each, Pending) else each for each in before])
            )
        results = tuple(zip(targets, map(Pending, accumulator_registers(result)), strict=True))
        for index, pending in results:
            warp.registers[index] = pending
        warp.held.update(operands)
        warp.history.append((line, form.columns))
        self._open.append(_Product(results, number, operands))

    def _places(self, descriptor: Array, extent: int, form: ProductForm, *, contiguous_k: bool) -> Array:
        """Return the (16, extent) places in shared memory, in units of two bytes, of an operand."""
        shared, line = self._warp.shared, form.line
        value = self._warp.uniform(descriptor, line, "descriptor")
        if value >> 49 & 7:
            raise Fault("unsupported", f"line {line}: a descriptor with a base offset")
        start, leading, stride = ((value >> shift & 0x3FFF) << 4 for shift in (0, 16, 32))
        layout = Layout(start, leading, stride, _ROW_BYTES[value >> 62])
        return operand_places(shared, layout, extent, line, contiguous_k=contiguous_k)

    def _read(self, places: Array, number: int, form: ProductForm) -> Array:
        shared = self._warp.shared
        shared.note_product(places, number, self._warp.actor(None, form.line))
        return decode(shared.words[2][places], form.kind)

    def commit(self) -> None:
        """Close a group."""
        self._groups.append(self._open)
        self._open = []

    def wait(self, allowed: int) -> None:
        """Wait until at most ``allowed`` groups are in flight; then their registers and operands are free."""
        registers = self._warp.registers
        while len(self._groups) > allowed:
            for product in self._groups.pop(0):
                for place, pending in product.results:
                    if registers[place] is pending:
                        registers[place] = pending.value
                clocks, index = self._warp.shared.clocks, self._warp.index
                clocks.learn(index, clocks.products_of(index), product.number)
                self._warp.held -= product.operands
        self.fenced = False

    @property
    def unfinished(self) -> bool:
        """Whether products are left that nobody has waited for."""
        return bool(self._open) or any(self._groups)
