"""Who may know of whose reads and writes: vector clocks (Lamport, 1978; Mattern, 1989), and mbarrier objects.

A warp's doings are numbered by a clock of its own. What it did until a moment is known to whoever has
acquired that moment: by a barrier, or by waiting for an mbarrier at which the warp arrived. Accesses that
neither side knows of are a race, whatever order this run took. Besides each warp there are two agents more,
for the matrix products and for the asynchronous copies that it has begun, numbered in their order: they are
known only to those who wait for them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ptx_machine.faults import Fault

Times = npt.NDArray[np.uint32]


class Knowledge(NamedTuple):
    """The moments of all agents that somebody knows of; ``fenced``: those with a proxy fence behind them.

    The matrix units of sm_90 and later read shared memory through the asynchronous proxy: they see a write
    of the generic proxy only where ``fence.proxy.async`` stands between.
    """

    known: Times
    fenced: Times


class Clocks:
    """The clocks of one block.

    Attributes:
        warps: Number of warps. Agents are, in this order, the warps, their products, and their copies.
        readers: Number of agents that read: warps and products.
        known: (warps, agents) moments that each warp knows of.
        fenced: Those behind a proxy fence.
        lanes: Last moment at which each warp's own lanes were ordered among each other.
    """

    def __init__(self, warps: int) -> None:
        self.warps, self.readers = warps, 2 * warps
        self.known: Times = np.zeros((warps, 3 * warps), np.uint32)
        self.known[np.arange(warps), np.arange(warps)] = 1
        self.fenced: Times = np.zeros((warps, 3 * warps), np.uint32)
        self.lanes: Times = np.zeros(warps, np.uint32)
        self._begun: Times = np.zeros(3 * warps, np.uint32)

    def products_of(self, warp: int) -> int:
        """Return the agent of a warp's products."""
        return self.warps + warp

    def copies_of(self, warp: int) -> int:
        """Return the agent of a warp's copies."""
        return 2 * self.warps + warp

    def begin(self, agent: int) -> int:
        """Return the number of the next product or copy of an agent."""
        self._begun[agent] += 1
        return int(self._begun[agent])

    def begun(self, agent: int) -> int:
        """Return the number of the last one."""
        return int(self._begun[agent])

    def learn(self, warp: int, agent: int, number: int) -> None:
        """Let a warp know that a product or copy, and those before it, have ended."""
        self.known[warp, agent] = max(int(self.known[warp, agent]), number)

    def name(self, agent: int) -> str:
        """Return words for an agent."""
        return ("warp {}", "a product of warp {}", "a copy of warp {}")[agent // self.warps].format(
            agent % self.warps
        )

    def now(self, warp: int) -> int:
        """Return the time of a warp's own clock."""
        return int(self.known[warp, warp])

    def tick(self, warp: int) -> None:
        """Begin a new moment of a warp."""
        self.known[warp, warp] += 1

    def order_lanes(self, warp: int) -> None:
        """Order what a warp's lanes did before what they do next, as ``bar.warp.sync`` does."""
        self.lanes[warp] = self.known[warp, warp]
        self.tick(warp)

    def barrier(self, warps: list[int]) -> None:
        """Let all of these know what each of them did and knew."""
        self.known[warps] = self.known[warps].max(0)
        self.fenced[warps] = self.fenced[warps].max(0)
        for warp in warps:
            self.order_lanes(warp)

    def fence(self, warp: int) -> None:
        """Do ``fence.proxy.async``: the other proxy sees all that the warp has done or knows of."""
        np.maximum(self.fenced[warp], self.known[warp], out=self.fenced[warp])
        self.tick(warp)

    def release(self, warp: int, *, whole: bool) -> Knowledge:
        """Return what an arrival hands on, by the whole warp or by some of its lanes.

        Some lanes cannot speak for what the others did since the warp was last ordered.
        """
        handed = Knowledge(self.known[warp].copy(), self.fenced[warp].copy())
        if not whole:
            handed.known[warp] = self.lanes[warp]
            handed.fenced[warp] = min(handed.fenced[warp], handed.known[warp])
        self.tick(warp)
        return handed

    def acquire(self, warp: int, handed: Knowledge) -> None:
        """Learn what an arrival handed on."""
        np.maximum(self.known[warp], handed.known, out=self.known[warp])
        np.maximum(self.fenced[warp], handed.fenced, out=self.fenced[warp])

    def nothing(self) -> Knowledge:
        """Return the knowledge of nobody."""
        return Knowledge(np.zeros_like(self.known[0]), np.zeros_like(self.known[0]))


class Mbarrier:
    """One mbarrier object: phases, and what the arrivals of the last complete one handed on.

    Args:
        count: Arrivals that complete a phase.
        nothing: The knowledge of nobody.
        by: Warp that initialised it, at its moment ``since``.
        since: Moment of the initialisation.

    Attributes:
        phase: Number of phases that are complete.
        arrivals: All arrivals so far.
    """

    def __init__(self, count: int, nothing: Knowledge, by: int, since: int) -> None:
        self.by, self.since = by, since
        self.phase = self.arrivals = 0
        self._count = self._pending = count
        self._coming, self.handed = nothing, nothing

    def expect(self, more: int) -> None:
        """Let this phase wait for more arrivals, as ``cp.async.mbarrier.arrive`` without ``noinc`` does."""
        self._pending += more

    def arrive(self, count: int, handed: Knowledge, where: str) -> None:
        """Count arrivals, which must fit into the phase."""
        if count > self._pending:
            raise Fault(
                "mbarrier-overflow", f"{where}: {count} arrivals, {self._pending} expected in this phase"
            )
        self.arrivals += count
        self._coming = Knowledge(*map(np.maximum, self._coming, handed))
        self._pending -= count
        if self._pending == 0:
            self._pending, self.phase = self._count, self.phase + 1
            self.handed, self._coming = self._coming, Knowledge(*map(np.zeros_like, self._coming))

    def is_complete(self, parity: int) -> bool:
        """Return whether the phase of a parity is over, as ``test_wait.parity`` says."""
        return self.phase % 2 != parity
