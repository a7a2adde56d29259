"""A launch: the blocks of a grid, one after the other, each with its warps in an order from a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from ptx_machine.faults import Fault
from ptx_machine.instructions.compiler import compile_kernel
from ptx_machine.matrices.warpgroup import Products
from ptx_machine.memory.copies import Copies
from ptx_machine.memory.global_memory import GlobalMemory
from ptx_machine.memory.shared_memory import SharedMemory
from ptx_machine.memory.tensor_memory import TensorMemory
from ptx_machine.program import AtBarrier, AtPhase, Event, ForRegisters, Pause, Program
from ptx_machine.syntax import parse
from ptx_machine.warp import THREADS, Block, Warp

Extent = tuple[int, int, int]
_GROUP: Final = 4  # warps of a warpgroup
_RARELY: Final = 1e-4
SCHEDULES: Final = ("even", "copies late", "copies early", "one warp slow", "groups uneven", "one group slow")
"""Kinds of unfairness among the warps of a block."""


@dataclass(frozen=True)
class Launch:
    """How a kernel is started.

    Attributes:
        grid: Blocks in x, y and z.
        block: Threads in x, y and z; y and z are 1.
        shared_memory: Dynamic shared memory in bytes.
        shared_base: Address where it begins in the shared window. Drivers keep the first KiB to themselves.
        seed: Chooses the order of blocks and warps, and the garbage in fresh memory.
        only: Blocks to run alone, instead of the whole grid.
    """

    grid: Extent
    block: Extent
    shared_memory: int
    shared_base: int = 1024
    seed: int = 0
    only: Sequence[Extent] = ()


@dataclass
class Report:
    """What happened in a launch.

    Attributes:
        instructions: Instructions of all warps.
        barriers: Barriers that were passed.
        arrivals: Arrivals at mbarrier objects.
        benign: Two-byte places that two warps wrote in no order, but alike.
        unreached: Text of the instructions that no lane has executed.
        schedules: Kinds of schedules that occurred.
    """

    instructions: int = 0
    barriers: int = 0
    arrivals: int = 0
    benign: int = 0
    unreached: list[str] = field(default_factory=list)
    schedules: set[str] = field(default_factory=set)


def launch(ptx: str, how: Launch, arguments: Sequence[int], memory: GlobalMemory) -> Report:
    """Run a kernel.

    Args:
        ptx: Text of a module with one kernel.
        how: Grid, block, shared memory and seed.
        arguments: Addresses, one for each parameter.
        memory: The memory that they point into.

    Raises:
        Fault: The kernel does what it must not.
        UnsupportedPtxError: The text holds something that the machine does not know.
    """
    kernel = parse(ptx)
    threads = how.block[0]
    if how.block[1:] != (1, 1) or threads % THREADS or (kernel.threads or threads) != threads:
        raise Fault("invalid-launch", f"blocks of {how.block}, the kernel asks for {kernel.threads} threads")
    if len(arguments) != len(kernel.parameters):
        raise Fault("invalid-launch", f"{len(arguments)} arguments, the kernel has {len(kernel.parameters)}")
    program = compile_kernel(kernel)
    rng = np.random.default_rng(how.seed)
    report = Report()
    blocks = list(how.only) or [
        (x, y, z) for z in range(how.grid[2]) for y in range(how.grid[1]) for x in range(how.grid[0])
    ]
    named = dict(zip(kernel.parameters, arguments, strict=True))
    with np.errstate(all="ignore"):
        for number in rng.permutation(len(blocks)):
            shared = SharedMemory(how.shared_memory, how.shared_base, threads // THREADS, rng)
            block = Block(
                shared=shared,
                memory=memory,
                tensor=TensorMemory(shared.clocks, rng),
                index=blocks[number],
                grid=how.grid,
                threads=threads,
                arguments=named,
                leader=int(rng.integers(THREADS)),
                rng=rng,
            )
            try:
                _BlockRun(block, program, rng, report).run()
            except Fault as fault:
                fault.add_note(f"in block {block.index}, seed {how.seed}")
                raise
    report.unreached = [ins.text for ins in program.unseen()]
    return report


class _BlockRun:
    """One block, from its first instruction to its last."""

    def __init__(self, block: Block, program: Program, rng: np.random.Generator, report: Report) -> None:
        self._block, self._rng, self._report = block, rng, report
        self._warps: list[Warp] = []
        self._runs: list[Iterator[Event]] = []
        for index in range(block.threads // THREADS):
            warp = Warp(index, block, program.kernel.most_registers or 0)
            warp.copies, warp.products = Copies(warp), Products(warp)
            self._warps.append(warp)
            self._runs.append(program.run(warp))
        self._waits: list[Event] = [Pause()] * len(self._warps)
        self._left = set(range(len(self._warps)))
        self._pool = 0  # registers a thread that warps have given away, times their threads
        self._odds, self._async_odds = self._draw_schedule()

    def _draw_schedule(self) -> tuple[np.ndarray, float]:
        """Return how likely each warp is chosen, and an asynchronous arrival."""
        kind = SCHEDULES[int(self._rng.integers(len(SCHEDULES)))]
        self._report.schedules.add(kind)
        count = len(self._warps)
        groups = -(-count // _GROUP)
        odds = np.ones(count)
        if kind == "one warp slow":
            odds[self._rng.integers(count)] = _RARELY
        elif kind == "groups uneven":
            odds = np.repeat(10.0 ** self._rng.uniform(-3, 0, groups), _GROUP)[:count]
        elif kind == "one group slow":
            first = _GROUP * int(self._rng.integers(groups))
            odds[first : first + _GROUP] = _RARELY
        return odds, {"copies late": _RARELY, "copies early": 20.0}.get(kind, 1.0)

    def run(self) -> None:
        """Run all warps to their end.

        Raises:
            Fault: Some wait for ever, or leave something unfinished.
        """
        while self._left:
            self._turn()
        while self._arrivals():
            self._arrivals()[0]()
        self._check_end()
        report = self._report
        report.instructions += sum(warp.count for warp in self._warps)
        report.benign += self._block.shared.benign
        report.arrivals += sum(each.arrivals for each in self._block.shared.mbarriers.values())

    def _arrivals(self) -> list[Callable[[], None]]:
        """Return the arrivals that may happen now, of copies and of products, each in their order."""
        found = [warp.copies.complete for warp in self._warps if warp.copies.arrivals]
        return [*found, self._block.tensor.complete] if self._block.tensor.commits else found

    def _turn(self) -> None:
        """Let one warp run to where it next waits, or one arrival happen."""
        ready = [index for index in sorted(self._left) if self._is_ready(index)]
        arrivals = self._arrivals()
        if not ready and not arrivals:
            where = ", ".join(
                f"warp {index} in line {self._warps[index].line} ({type(self._waits[index]).__name__})"
                for index in sorted(self._left)
            )
            ended = len(self._warps) - len(self._left)
            raise Fault("deadlock", f"{ended} warps have ended, the others wait for ever: {where}")
        odds = np.concatenate((self._odds[ready], np.full(len(arrivals), self._async_odds)))
        chosen = int(self._rng.choice(len(odds), p=odds / odds.sum()))
        if chosen >= len(ready):
            arrivals[chosen - len(ready)]()
        else:
            self._advance(ready[chosen])

    def _is_ready(self, index: int) -> bool:
        event = self._waits[index]
        if isinstance(event, AtPhase):
            return event.mbarrier.is_complete(event.parity)
        if isinstance(event, ForRegisters):
            return THREADS * (event.count - self._warps[index].most_registers) <= self._pool
        return isinstance(event, Pause)

    def _advance(self, index: int) -> None:
        warp, waited = self._warps[index], self._waits[index]
        if isinstance(waited, ForRegisters):
            self._pool -= THREADS * (waited.count - warp.most_registers)
            warp.most_registers = waited.count
        event = next(self._runs[index], None)
        if event is None:
            self._left.remove(index)
            return
        self._waits[index] = event
        if isinstance(event, AtBarrier):
            self._arrive_at(event)

    def _arrive_at(self, barrier: AtBarrier) -> None:
        """Open a barrier once all are there."""
        there = [
            index
            for index in sorted(self._left)
            if isinstance(found := self._waits[index], AtBarrier) and found.number == barrier.number
        ]
        if any(self._waits[index] != barrier for index in there):
            raise Fault("barrier", f"barrier {barrier.number} is used with different numbers of threads")
        if THREADS * len(there) == (barrier.threads or self._block.threads):
            self._block.shared.clocks.barrier(there)
            self._report.barriers += 1
            for index in there:
                self._waits[index] = Pause()

    def _check_end(self) -> None:
        for warp in self._warps:
            if warp.copies.unfinished or warp.products.unfinished or warp.loads or warp.stores:
                raise Fault("unfinished-async", f"warp {warp.index} ends before what it has begun")
            if warp.history != self._warps[warp.index // _GROUP * _GROUP].history:
                raise Fault(
                    "warpgroup", f"warp {warp.index} disagrees with its group about wgmma or setmaxnreg"
                )
        if self._block.tensor.leaked:
            raise Fault("tensor-memory", "columns of tensor memory are not given back")
