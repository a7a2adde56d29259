"""Asynchronous copies from global to shared memory: ``cp.async``, its groups and its arrivals.

The bytes are taken when the copy is issued. They land when the warp waits for the copy's group, or, where
an mbarrier tells of it, at a moment that the schedule chooses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ptx_machine.arithmetic import Array
from ptx_machine.faults import Fault
from ptx_machine.memory.clocks import Knowledge, Mbarrier
from ptx_machine.warp import LANES, THREADS, Warp


@dataclass
class _Copy:
    """One instruction's copy; ``announced`` where an mbarrier tells others of it."""

    granules: Array
    data: npt.NDArray[np.uint16]
    number: int
    landed: bool = False
    announced: bool = False


@dataclass(frozen=True)
class _Arrival:
    """An arrival that takes place once these copies have landed."""

    at: Mbarrier
    copies: tuple[_Copy, ...]
    handed: Knowledge
    line: int


class Copies:
    """The copies of one warp."""

    def __init__(self, warp: Warp) -> None:
        self._warp = warp
        self._groups: list[list[_Copy]] = []
        self._open: list[_Copy] = []
        self._flying: list[_Copy] = []
        self.arrivals: list[_Arrival] = []

    def issue(
        self, to: Array, source: Array, sizes: tuple[int, Array], mask: Array | None, line: int
    ) -> None:
        """Begin copies of ``sizes[0]`` bytes; ``sizes[1]``, all or none, are read, the rest are zeros."""
        warp, shared = self._warp, self._warp.shared
        size, used = sizes
        lanes = LANES if mask is None else LANES[mask]
        to, source, used = to[lanes], source[lanes], used[lanes]
        if lanes.size == 0:
            return
        if not np.isin(used, (0, size)).all():
            raise Fault("unsupported", f"line {line}: a cp.async that reads some of its bytes")
        granules = shared.granules(shared.offsets(to, size, f"line {line}"), size)
        data = np.zeros((lanes.size, size), np.uint8)
        if (used == size).any():
            data[used == size] = warp.block.memory.copy(source[used == size], size, f"line {line}")
        shared.begin_copy(granules, warp.actor(lanes, line))
        number = shared.clocks.begin(shared.clocks.copies_of(warp.index))
        copy = _Copy(granules, data.view(np.uint16), number)
        self._open.append(copy)
        self._flying.append(copy)

    def commit(self) -> None:
        """Close a group."""
        self._groups.append(self._open)
        self._open = []

    def wait(self, allowed: int) -> None:
        """Wait until at most ``allowed`` groups are on their way."""
        shared, index = self._warp.shared, self._warp.index
        while len(self._groups) > allowed:
            for copy in self._groups.pop(0):
                self._land(copy)
                if copy.announced:
                    shared.clocks.learn(index, shared.clocks.copies_of(index), copy.number)
                else:
                    shared.adopt(copy.granules, index, copy.number)

    def wait_all(self) -> None:
        """Wait for every copy, in a group or not."""
        self.commit()
        self.wait(0)

    def _land(self, copy: _Copy) -> None:
        if not copy.landed:
            copy.landed = True
            self._flying.remove(copy)
            self._warp.shared.land(copy.granules, copy.data, self._warp.index, copy.number)

    def arrive(self, at: Mbarrier, mask: Array | None, line: int, *, counted: bool) -> None:
        """Arrive, with all lanes, once the copies so far have landed; the phase counts it already, or not."""
        if mask is not None and int(mask.sum()) != THREADS:
            raise Fault("unsupported", f"line {line}: some lanes alone arrive for their copies")
        if not counted:
            at.expect(THREADS)
        clocks, index = self._warp.shared.clocks, self._warp.index
        # Handed on are the copies, and what the warp knew of others by then; not what it did itself.
        handed = clocks.nothing()
        handed.known[:] = clocks.known[index]
        handed.known[index] = 0
        handed.known[clocks.copies_of(index)] = clocks.begun(clocks.copies_of(index))
        for copy in self._flying:
            copy.announced = True
        self.arrivals.append(_Arrival(at, tuple(self._flying), handed, line))

    def complete(self) -> None:
        """Let the first of the arrivals take place."""
        arrival = self.arrivals.pop(0)
        for copy in arrival.copies:
            self._land(copy)
        arrival.at.arrive(THREADS, arrival.handed, f"line {arrival.line}")

    @property
    def unfinished(self) -> bool:
        """Whether copies are left that nobody has waited for."""
        return bool(self._flying) or any(self._groups)
