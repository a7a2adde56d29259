"""Shared memory of one block, which knows of every two bytes who wrote and who read them last, and when.

The checks are those of compute-sanitizer's memcheck, initcheck and racecheck, and of asynchronous
operations: bytes that a copy is about to write may not be touched, bytes that a matrix product reads may
not be written, until somebody has waited for it and the one who touches them knows of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ptx_machine.arithmetic import UNSIGNED, Array
from ptx_machine.faults import Fault
from ptx_machine.memory.clocks import Clocks, Mbarrier

GRANULE: Final = 2
_SEVERAL: Final = np.uint8(255)  # lanes; 0 is none, lane i is i + 1
_NOBODY: Final = np.uint8(0)


@dataclass(frozen=True)
class Actor:
    """Who touches memory: a warp, its lanes (one each access, or ``None``: all touch all), and the place."""

    warp: int
    lanes: Array | None
    where: str


class SharedMemory:
    """Dynamic shared memory of a block.

    Args:
        size: Bytes.
        base: Address of the first byte in the shared window.
        warps: Warps of the block.
        rng: Source of the bytes that it begins with.

    Attributes:
        clocks: What each warp knows.
        words: The bytes as words of 1, 2, 4 and 8.
        benign: Writes without an order, which wrote the same value.
        mbarriers: The objects by their offset.
    """

    def __init__(self, size: int, base: int, warps: int, rng: np.random.Generator) -> None:
        self.size, self.base = size, base
        self.clocks = Clocks(warps)
        self.benign = 0
        self.mbarriers: dict[int, Mbarrier] = {}
        data = rng.integers(0, 256, -(-size // 16) * 16, np.uint8)
        self.words = {width // 8: data.view(kind) for width, kind in UNSIGNED.items()}
        granules = data.size // GRANULE
        self._written, self._copying, self._object = np.zeros((3, granules), np.bool_)
        self._by = np.zeros(granules, np.uint8)
        self._at = np.zeros(granules, np.uint32)
        self._read_at = np.zeros((granules, self.clocks.readers), np.uint32)
        self._writer, self._reader = np.zeros((2, granules), np.uint8)

    def offsets(self, addresses: Array, size: int, where: str) -> Array:
        """Return the offsets of accesses of ``size`` bytes, which must lie inside and be aligned."""
        at: Array = addresses.astype(np.int64) - self.base
        if int(at.min()) < 0 or int(at.max()) + size > self.size:
            outside = at[(at < 0) | (at + size > self.size)][0]
            raise Fault("shared-out-of-bounds", f"{where}: {size} bytes at {outside} of {self.size}")
        if (addresses & addresses.dtype.type(size - 1)).any():
            raise Fault(
                "misaligned-shared", f"{where}: {size} bytes at an address that is no multiple of them"
            )
        return at

    @staticmethod
    def granules(at: Array, size: int) -> Array:
        """Return the places in the records of accesses of ``size`` bytes, one row an access."""
        places: Array = (at // GRANULE)[:, None] + np.arange(max(1, size // GRANULE))
        return places

    def load(self, addresses: Array, width: int, count: int, actor: Actor) -> Array:
        """Return (count, accesses) values of ``width`` bytes, ``count`` in a row at each address."""
        at = self.offsets(addresses, width * count, actor.where)
        self.note_read(self.granules(at, width * count), actor)
        values: Array = self.words[width][np.arange(count)[:, None] + at // width]
        return values

    def store(self, addresses: Array, values: Array, actor: Actor) -> None:
        """Write (count, accesses) values, ``count`` in a row at each address."""
        width, count = values.dtype.itemsize, len(values)
        at = self.offsets(addresses, width * count, actor.where)
        granules = self.granules(at, width * count)
        words, index = self.words[width], np.arange(count)[:, None] + at // width
        if width * count >= GRANULE:
            new = np.ascontiguousarray(values.T).view(np.uint16).reshape(granules.shape)
            same = self.words[GRANULE][granules] == new
        else:
            same = (words[index] == values).reshape(granules.shape)
        self.note_write(granules, actor, same)
        words[index] = values
        if (words[index] != values).any():
            raise Fault(
                "shared-race", f"{actor.where}: lanes of one warp write different values to one place"
            )

    def note_read(self, granules: Array, actor: Actor) -> None:
        """Check a read of these places and remember it."""
        clocks, warp = self.clocks, actor.warp
        by, at = self._by[granules], self._at[granules]
        unknown = at > clocks.known[warp][by]
        if unknown.any() or self._copying[granules].any() or not self._written[granules].all():
            self._explain(granules, actor, "reads", unknown, by)
        if self._object[granules].any():
            raise Fault("mbarrier-bytes", f"{actor.where}: reads the bytes of an mbarrier")
        lanes = self._lanes(actor, granules)
        mine = (by == warp) & (at > clocks.lanes[warp])
        if mine.any() and (mine & self._others(self._writer[granules], lanes)).any():
            raise Fault(
                "warp-race", f"{actor.where}: lanes of warp {warp} read what others of it wrote, unordered"
            )
        self._remember(self._reader, granules, lanes, self._read_at[granules, warp] > clocks.lanes[warp])
        self._read_at[granules, warp] = clocks.now(warp)

    def note_write(self, granules: Array, actor: Actor, same: Array | None) -> None:
        """Check a write to these places and remember it; ``same``: where they hold it already."""
        clocks, warp = self.clocks, actor.warp
        by, at, read = self._by[granules], self._at[granules], self._read_at[granules]
        unknown = at > clocks.known[warp][by]
        unread = read > clocks.known[warp, : clocks.readers]
        unread[..., warp] = False
        differs = np.ones(granules.shape, np.bool_) if same is None else ~same
        if self._copying[granules].any() or (unknown & differs).any():
            self._explain(granules, actor, "writes", unknown & differs, by)
        if unread.any():
            readers = np.flatnonzero(unread.reshape(-1, clocks.readers).any(0)).tolist()
            kind = "shared-race" if readers[0] < clocks.warps else "product-in-flight"
            names = ", ".join(map(clocks.name, readers))
            raise Fault(kind, f"{actor.where}: warp {warp} writes what {names} reads, unordered")
        if self._object[granules].any():
            raise Fault("mbarrier-bytes", f"{actor.where}: writes the bytes of an mbarrier")
        self.benign += int(unknown.sum())
        lanes = self._lanes(actor, granules)
        read_here, wrote_here = read[..., warp] > clocks.lanes[warp], (by == warp) & (at > clocks.lanes[warp])
        if (read_here & self._others(self._reader[granules], lanes)).any():
            raise Fault(
                "warp-race", f"{actor.where}: lanes of warp {warp} write what others of it read, unordered"
            )
        if (wrote_here & differs & self._others(self._writer[granules], lanes)).any():
            raise Fault(
                "warp-race", f"{actor.where}: lanes of warp {warp} write what others of it wrote, unordered"
            )
        self._remember(self._writer, granules, lanes, wrote_here)
        self._written[granules] = True
        self._by[granules], self._at[granules] = warp, clocks.now(warp)

    # Asynchronous copies and products.

    def begin_copy(self, granules: Array, actor: Actor) -> None:
        """Let a copy be on its way to these places."""
        self.note_write(granules, actor, None)
        self._copying[granules] = True

    def land(self, granules: Array, data: npt.NDArray[np.uint16], warp: int, number: int) -> None:
        """Write what a copy brings; only whoever waits for copy ``number`` of the warp may know of it."""
        self.words[GRANULE][granules] = data
        self._copying[granules] = False
        self._by[granules], self._at[granules] = self.clocks.copies_of(warp), number

    def adopt(self, granules: Array, warp: int, number: int) -> None:
        """Make what copy ``number`` wrote the warp's own doing, since it has waited for it."""
        left = granules[(self._by[granules] == self.clocks.copies_of(warp)) & (self._at[granules] == number)]
        self._by[left], self._at[left] = warp, self.clocks.now(warp)

    def note_product(self, granules: Array, number: int, actor: Actor) -> None:
        """Let product ``number`` of a warp read these places, by the asynchronous proxy, until its end."""
        clocks = self.clocks
        stale = self._at[granules] > clocks.fenced[actor.warp][self._by[granules]]
        self.note_read(granules, actor)
        if stale.any():
            raise Fault(
                "missing-proxy-fence",
                f"{actor.where}: reads generic writes with no fence.proxy.async between",
            )
        self._read_at[granules, clocks.products_of(actor.warp)] = number

    # mbarrier objects.

    def mbarrier(self, address: int, warp: int, where: str) -> Mbarrier:
        """Return the object at an address; the warp must know that it was initialised."""
        found = self.mbarriers.get(address - self.base)
        if found is None:
            raise Fault("mbarrier-uninitialised", f"{where}: no mbarrier at {address - self.base}")
        seen = self.clocks.lanes[warp] if found.by == warp else self.clocks.known[warp, found.by]
        if found.since > seen:
            raise Fault("mbarrier-race", f"{where}: warp {warp} cannot know that the mbarrier is initialised")
        return found

    def init_mbarrier(self, address: int, count: int, actor: Actor) -> None:
        """Make an object of eight bytes."""
        (at,) = self.offsets(np.array([address], np.uint32), 8, actor.where)
        granules = self.granules(np.array([at]), 8)
        self.note_write(granules, actor, None)
        self._object[granules] = True
        clocks = self.clocks
        self.mbarriers[int(at)] = Mbarrier(count, clocks.nothing(), actor.warp, clocks.now(actor.warp))

    def end_mbarrier(self, address: int, warp: int, where: str) -> Mbarrier:
        """Make plain bytes of an object again, and return it."""
        found = self.mbarrier(address, warp, where)
        del self.mbarriers[address - self.base]
        self._object[self.granules(np.array([address - self.base]), 8)] = False
        return found

    # Records.

    @staticmethod
    def _lanes(actor: Actor, granules: Array) -> Array:
        if actor.lanes is None:
            return np.full(granules.shape, _SEVERAL)
        return np.broadcast_to((actor.lanes + 1).astype(np.uint8)[:, None], granules.shape)

    @staticmethod
    def _others(found: Array, lanes: Array) -> Array:
        """Where somebody else than this lane, or not this lane alone, is on record."""
        others: Array = (found != _NOBODY) & ((found != lanes) | (found == _SEVERAL))
        return others

    @staticmethod
    def _remember(record: Array, granules: Array, lanes: Array, again: Array) -> None:
        """Note the lanes, or that there are several: of this access, or since the warp was last ordered."""
        record[granules] = np.where(again & (record[granules] != lanes), _SEVERAL, lanes)
        several = record[granules] != lanes
        record[granules[several]] = _SEVERAL

    def _explain(self, granules: Array, actor: Actor, verb: str, unknown: Array, by: Array) -> None:
        where, warp = actor.where, actor.warp
        if self._copying[granules].any():
            raise Fault(
                "async-copy-not-waited", f"{where}: warp {warp} {verb} the bytes of a copy that is on its way"
            )
        if unknown.any():
            writers = ", ".join(map(self.clocks.name, np.unique(by[unknown]).tolist()))
            raise Fault("shared-race", f"{where}: warp {warp} {verb} what {writers} wrote, unordered")
        raise Fault("shared-uninitialised", f"{where}: warp {warp} {verb} bytes that nobody has written")
