"""``tcgen05``: tensor memory of sm_100 and sm_110, 128 lanes of 512 columns of 32 bits, and the products that
use it.

An address has the lane in its upper half and the column in its lower. Loads and stores of a warp reach the
32 lanes of its quarter; they end at ``wait::ld`` and ``wait::st``: until then no other may write there,
though what is loaded may be used at once, by the dependency of registers. A product is begun by one thread,
in order behind those of its warp, and has ended for whoever waits for the mbarrier of a later ``commit``
(PTX ISA, "TensorCore 5th Generation Family Instructions").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ptx_machine.arithmetic import Array
from ptx_machine.faults import Fault
from ptx_machine.matrices.fragments import decode
from ptx_machine.matrices.warpgroup import Layout, operand_places
from ptx_machine.memory.clocks import Clocks, Knowledge, Mbarrier
from ptx_machine.warp import LANES, THREADS, Warp

_ROWS, _COLUMNS = 128, 512
_QUARTER: Final = 32  # lanes that a warp reaches
_KINDS: Final = ("f16", "bf16")
_SWIZZLED: Final = {0: 16, 2: 128, 4: 64, 6: 32}  # width of a row in bytes by bits 61 to 63 of a descriptor


class Cells(NamedTuple):
    """Cells by lane and column; both arrays have the shape of what is read or written."""

    lanes: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]


@dataclass(frozen=True)
class TensorForm:
    """The instruction descriptor of ``kind::f16``, taken apart.

    Attributes:
        rows: M, 64 or 128.
        columns: N.
        kinds: Types of A and B.
        signs: 1 or -1 for A and B.
        contiguous_k: Whether K is contiguous in A and in B.
    """

    rows: int
    columns: int
    kinds: tuple[str, str]
    signs: tuple[int, int]
    contiguous_k: tuple[bool, bool]

    @classmethod
    def read(cls, bits: int, line: int) -> TensorForm:
        """Take an instruction descriptor apart."""
        kinds = bits >> 7 & 7, bits >> 10 & 7
        if bits & 0xF or bits >> 4 & 3 != 1 or max(kinds) > 1 or bits >> 29:
            raise Fault("unsupported", f"line {line}: instruction descriptor {bits:#010x}")
        return cls(
            rows=(bits >> 24 & 31) * 16,
            columns=(bits >> 17 & 63) * 8,
            kinds=(_KINDS[kinds[0]], _KINDS[kinds[1]]),
            signs=(1 - 2 * (bits >> 13 & 1), 1 - 2 * (bits >> 14 & 1)),
            contiguous_k=(not bits >> 15 & 1, not bits >> 16 & 1),
        )


@dataclass(frozen=True)
class Product:
    """One ``tcgen05.mma``: addresses of D and (``in_tensor``) A, else descriptors; ``keep``: D is added."""

    form: TensorForm
    d: int
    a: int
    b: int
    in_tensor: bool
    keep: bool
    line: int


class Toucher(NamedTuple):
    """Who touches cells: an agent at a moment of its own, with the knowledge of a warp, and the line."""

    agent: int
    number: int
    warp: int
    line: int


@dataclass(frozen=True)
class Commit:
    """An arrival at an mbarrier that takes place once the products so far have ended."""

    at: Mbarrier
    handed: Knowledge
    line: int


class TensorMemory:
    """Tensor memory of one block.

    Attributes:
        commits: Arrivals that the schedule has not let happen yet.
    """

    def __init__(self, clocks: Clocks, rng: np.random.Generator) -> None:
        self._clocks = clocks
        self._first = int(rng.integers(4)) * 32  # where the next allocation begins
        self._data: Array = np.zeros((0, 0), np.uint32)
        self._allocated: dict[int, int] = {}
        self._permit = True
        self.commits: list[Commit] = []

    def _make(self) -> None:
        """Make the records, once: most kernels have none."""
        if self._data.size:
            return
        self._data = np.full((_ROWS, _COLUMNS), 0xDEADBEEF, np.uint32)
        self._written = np.zeros((_ROWS, _COLUMNS), np.bool_)
        self._loading, self._storing = np.zeros((2, _ROWS, _COLUMNS), np.uint8)
        self._by = np.zeros((_ROWS, _COLUMNS), np.uint8)
        self._at = np.zeros((_ROWS, _COLUMNS), np.uint32)
        self._read_at = np.zeros((_ROWS, _COLUMNS, self._clocks.readers), np.uint32)

    def allocate(self, count: int, line: int) -> int:
        """Return the address of ``count`` columns."""
        self._make()
        if count not in (32, 64, 128, 256, 512):
            raise Fault(
                "tensor-memory", f"line {line}: {count} columns, expected a power of two from 32 to 512"
            )
        if not self._permit:
            raise Fault("tensor-memory", f"line {line}: allocates after relinquish_alloc_permit")
        taken = sum(self._allocated.values())
        start = self._first + taken if self._first + taken + count <= _COLUMNS else taken
        if start + count > _COLUMNS:
            raise Fault(
                "tensor-memory", f"line {line}: {count} columns asked for, {_COLUMNS - taken} left: it hangs"
            )
        self._allocated[start] = count
        return start

    def free(self, address: int, count: int, line: int) -> None:
        """Give columns back."""
        if self._allocated.pop(address, None) != count:
            raise Fault("tensor-memory", f"line {line}: {count} columns at {address} were not allocated so")

    def relinquish(self) -> None:
        """Allow no further allocation."""
        self._permit = False

    @property
    def leaked(self) -> bool:
        """Whether columns were not given back."""
        return bool(self._allocated)

    def _check(self, cells: Cells, line: int) -> None:
        columns = np.zeros(_COLUMNS, np.bool_)
        for start, count in self._allocated.items():
            columns[start : start + count] = True
        if cells.lanes.max() >= _ROWS or cells.columns.max() >= _COLUMNS or not columns[cells.columns].all():
            raise Fault(
                "tensor-out-of-bounds", f"line {line}: columns up to {cells.columns.max()} are not allocated"
            )

    def _note_read(self, cells: Cells, who: Toucher) -> None:
        agent, number, warp, line = who
        unknown = self._at[cells] > self._clocks.known[warp][self._by[cells]]
        own = self._by[cells] == agent  # products of one warp follow each other
        if not self._written[cells].all():
            raise Fault("tensor-uninitialised", f"line {line}: reads cells that nobody has written")
        if self._storing[cells].any():
            raise Fault("tensor-race", f"line {line}: reads cells of a store that nobody has waited for")
        if (unknown & ~own).any():
            writers = ", ".join(map(self._clocks.name, np.unique(self._by[cells][unknown & ~own]).tolist()))
            raise Fault("tensor-race", f"line {line}: reads what {writers} wrote, unordered")
        self._read_at[(*cells, np.intp(agent))] = number

    def _note_write(self, cells: Cells, who: Toucher) -> None:
        agent, number, warp, line = who
        known = self._clocks.known[warp]
        unread = self._read_at[cells] > known[: self._clocks.readers]
        unread[..., agent] = False
        unread[..., warp] = False
        late = (self._at[cells] > known[self._by[cells]]) & (self._by[cells] != agent)
        if self._storing[cells].any() or self._loading[cells].any() or unread.any() or late.any():
            raise Fault("tensor-race", f"line {line}: writes cells that others read or write, unordered")
        self._written[cells] = True
        self._by[cells], self._at[cells] = agent, number

    # Loads and stores of warps.

    @staticmethod
    def _cells(warp: Warp, address: int, count: int, split: int | None, line: int) -> Cells:
        """Return the (count, 32) cells of a warp: 32 lanes, or 16 lanes twice, ``split`` columns apart."""
        row, column = address >> 16, address & 0xFFFF
        lane = LANES.astype(np.int64)
        if row // _QUARTER != warp.index % 4 or row % 16:
            raise Fault("tensor-out-of-bounds", f"line {line}: warp {warp.index} cannot reach lane {row}")
        registers = np.arange(count, dtype=np.int64)[:, None]
        if split is None:
            return Cells(*np.broadcast_arrays(row + lane, column + registers))
        return Cells(*np.broadcast_arrays(row + lane % 16, column + registers + split * (lane // 16)))

    def load(
        self, warp: Warp, targets: tuple[int, ...], address: Array, split: int | None, line: int
    ) -> None:
        """Begin ``tcgen05.ld`` into these registers."""
        cells = self._cells(warp, warp.uniform(address, line, "address"), len(targets), split, line)
        self._check(cells, line)
        self._note_read(cells, Toucher(warp.index, self._clocks.now(warp.index), warp.index, line))
        np.add.at(self._loading, cells, 1)
        for index, value in zip(targets, self._data[cells], strict=True):
            warp.registers[index] = value
        warp.loads.append(cells)

    def store(self, warp: Warp, values: Array, address: Array, split: int | None, line: int) -> None:
        """Begin ``tcgen05.st`` of (count, 32) values."""
        cells = self._cells(warp, warp.uniform(address, line, "address"), len(values), split, line)
        self._check(cells, line)
        self._note_write(cells, Toucher(warp.index, self._clocks.now(warp.index), warp.index, line))
        self._storing[cells] = 1
        self._data[cells] = values
        warp.stores.append(cells)

    def wait_loads(self, warp: Warp) -> None:
        """Do ``tcgen05.wait::ld``."""
        for cells in warp.loads:
            np.subtract.at(self._loading, cells, 1)
            self._read_at[(*cells, np.intp(warp.index))] = self._clocks.now(warp.index)
        warp.loads.clear()

    def wait_stores(self, warp: Warp) -> None:
        """Do ``tcgen05.wait::st``."""
        for cells in warp.stores:
            self._storing[cells] = 0
            self._at[cells] = self._clocks.now(warp.index)
        warp.stores.clear()

    # Products.

    def multiply(self, warp: Warp, product: Product) -> None:
        """Begin ``tcgen05.mma`` by a thread of a warp: D becomes A B, or A B + D, of K = 16."""
        agent, form, line = self._clocks.products_of(warp.index), product.form, product.line
        number = self._clocks.begin(agent)
        if product.in_tensor:
            left = self._left_in_tensor(warp, product, number)
        else:
            left = self._in_shared(warp, product, 0, number).T
        right = self._in_shared(warp, product, 1, number)
        result = form.signs[0] * left @ (form.signs[1] * right)
        cells = self._matrix(product.d, form.rows, form.columns, line)
        who = Toucher(agent, number, warp.index, line)
        if product.keep:
            self._note_read(cells, who)
            result = result + self._data[cells].view(np.float32)
        self._note_write(cells, who)
        self._data[cells] = result.astype(np.float32).view(np.uint32)

    def _matrix(self, address: int, rows: int, columns: int, line: int) -> Cells:
        """Return the (rows, columns) cells of a matrix; 64 rows lie in the first 16 lanes of each quarter."""
        row = np.arange(rows, dtype=np.int64)
        if rows == _ROWS // 2:
            row = row // 16 * _QUARTER + row % 16
        first = address >> 16
        if first % (16 if rows == _ROWS // 2 else _ROWS) or first > 16:
            raise Fault(
                "tensor-out-of-bounds", f"line {line}: a matrix of {rows} rows begins at lane {first}"
            )
        column = (address & 0xFFFF) + np.arange(columns, dtype=np.int64)
        cells = Cells(*np.broadcast_arrays(row[:, None] + first, column[None, :]))
        self._check(cells, line)
        return cells

    def _left_in_tensor(self, warp: Warp, product: Product, number: int) -> Array:
        cells = self._matrix(product.a, product.form.rows, 8, product.line)
        who = Toucher(self._clocks.products_of(warp.index), number, warp.index, product.line)
        self._note_read(cells, who)
        return decode(np.ascontiguousarray(self._data[cells]).view(np.uint16), product.form.kinds[0])

    def _in_shared(self, warp: Warp, product: Product, which: int, number: int) -> Array:
        form, line, descriptor = product.form, product.line, (product.a, product.b)[which]
        if descriptor >> 46 & 7 != 1 or descriptor >> 49 & 0xFFF or descriptor >> 61 not in _SWIZZLED:
            raise Fault("unsupported", f"line {line}: descriptor {descriptor:#018x}")
        start, leading, stride = ((descriptor >> shift & 0x3FFF) << 4 for shift in (0, 16, 32))
        layout = Layout(start, leading, stride, _SWIZZLED[descriptor >> 61])
        extent = (form.rows, form.columns)[which]
        places = operand_places(warp.shared, layout, extent, line, contiguous_k=form.contiguous_k[which])
        warp.shared.note_product(places, number, warp.actor(None, line))
        return decode(warp.shared.words[2][places], form.kinds[which])

    def commit(self, warp: Warp, at: Mbarrier, line: int) -> None:
        """Let an arrival happen, when the schedule chooses, once the warp's products have ended."""
        agent = self._clocks.products_of(warp.index)
        handed = self._clocks.nothing()
        handed.known[agent] = self._clocks.begun(agent)
        self.commits.append(Commit(at, handed, line))

    def complete(self) -> None:
        """Let the first of those arrivals happen."""
        commit = self.commits.pop(0)
        commit.at.arrive(1, commit.handed, f"line {commit.line}")


assert THREADS == _QUARTER
