"""One warp: the registers of 32 threads, and what they do to memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from ptx_machine.arithmetic import UNSIGNED, Array
from ptx_machine.faults import Fault
from ptx_machine.memory.global_memory import GlobalMemory
from ptx_machine.memory.shared_memory import Actor, SharedMemory

if TYPE_CHECKING:
    from ptx_machine.matrices.warpgroup import Products
    from ptx_machine.memory.copies import Copies
    from ptx_machine.memory.tensor_memory import Cells, TensorMemory

THREADS: Final = 32
LANES: Final[npt.NDArray[np.uint32]] = np.arange(THREADS, dtype=np.uint32)


@dataclass(frozen=True)
class Block:
    """What the warps of a block share: memories, launch and arguments, and the lane that elect chooses."""

    shared: SharedMemory
    memory: GlobalMemory
    tensor: TensorMemory
    index: tuple[int, int, int]
    grid: tuple[int, int, int]
    threads: int
    arguments: Mapping[str, int]
    leader: int
    rng: np.random.Generator


class Warp:
    """32 threads that run together.

    Attributes:
        index: Number of the warp in its block.
        registers: The register file: (32,) bits each, ``None`` before the first write, or a promise.
            Arrays in it are never changed, but replaced.
        held: How often each register is an operand of a product in flight.
        most_registers: Registers a thread, which ``setmaxnreg`` changes.
        loads: Cells of the loads from tensor memory that have not been waited for.
        stores: Likewise of the stores.
        history: What all warps of a warpgroup must do alike: lines of ``wgmma`` and ``setmaxnreg``.
        count: Instructions so far.
        line: Line of the last instruction that waits.
    """

    copies: Copies
    products: Products

    def __init__(self, index: int, block: Block, most_registers: int) -> None:
        self.index, self.block = index, block
        self.registers: list[Any] = []
        self.held: Counter[int] = Counter()
        self.most_registers = most_registers
        self.loads: list[Cells] = []
        self.stores: list[Cells] = []
        self.history: list[tuple[int, int]] = []
        self.count = self.line = 0

    @property
    def shared(self) -> SharedMemory:
        """Shared memory of the block."""
        return self.block.shared

    def special(self, name: str) -> Array:
        """Return a special register's values, 32 bits each."""
        axes = "xyz"
        if name == "shared_base":
            return np.full(THREADS, self.shared.base, np.uint32)
        if name == "laneid":
            return LANES
        stem, _, axis = name.partition(".")
        if stem == "tid":
            return LANES + np.uint32(THREADS * self.index) if axis == "x" else np.zeros(THREADS, np.uint32)
        values = {"ctaid": self.block.index, "nctaid": self.block.grid, "ntid": (self.block.threads, 1, 1)}
        if stem not in values or axis not in axes:
            raise KeyError(name)
        return np.full(THREADS, values[stem][axes.index(axis)], np.uint32)

    def actor(self, lanes: Array | None, line: int) -> Actor:
        """Return who acts in an instruction."""
        return Actor(self.index, lanes, f"line {line}")

    def load(
        self, space: str, addresses: Array, form: tuple[int, int], mask: Array | None, line: int
    ) -> Array:
        """Return (count, 32) values of (width, count) = ``form``; zeros in lanes outside the mask."""
        width, count = form
        active = addresses if mask is None else addresses[mask]
        whole = np.zeros((count, THREADS), UNSIGNED[8 * width])
        if active.size == 0:
            return whole
        if space == "global":
            values = self.block.memory.load(active, width, count, f"line {line}")
        else:
            lanes = LANES if mask is None else LANES[mask]
            values = self.shared.load(active, width, count, self.actor(lanes, line))
        if mask is None:
            return values
        whole[:, mask] = values
        return whole

    def store(self, space: str, addresses: Array, values: Array, mask: Array | None, line: int) -> None:
        """Write (count, 32) values from the lanes of the mask."""
        if mask is not None:
            addresses, values = addresses[mask], values[:, mask]
        if addresses.size == 0:
            return
        if space == "global":
            self.block.memory.store(addresses, values, f"line {line}")
        else:
            self.shared.store(addresses, values, self.actor(LANES if mask is None else LANES[mask], line))

    def uniform(self, values: Array, line: int, subject: str = "predicate of a branch") -> int:
        """Return the value that all lanes share."""
        first = values[0]
        if (values != first).any():
            raise Fault("divergence", f"line {line}: lanes disagree about the {subject}")
        return int(first)

    def resize(self, count: int, line: int, *, grow: bool) -> int:
        """Return the registers a thread that ``setmaxnreg`` asks for."""
        fits = self.most_registers <= count if grow else count <= self.most_registers
        if count % 8 or not 24 <= count <= 256 or not fits:
            raise Fault("setmaxnreg", f"line {line}: from {self.most_registers} to {count} registers")
        self.history.append((line, count))
        return count
