"""Ownership of slots: the slots of one camera, allocated once and used again and again.

Until a slot is shared it has a single owner, which may write to it. From then on it has readers, and nobody
writes. The last reader to finish gives it back to the pool, and only the pool gives it out again::

        one owner, which may write                           readers, who may not
        .--------------------------------------------.       .--------------------.
    .-->| capture ---> intake ---> inference         | share | each sink          |
    |   |    |           |             |    delivery |------>| the caller         |
    |   '----|-----------|-------------|-------------'       | `Stream.latest`    |
    |        | lost,     | displaced,  | failed, late,       '--------------------'
    | get    | ended     | ended       | ended                         | release
    |        v put       v put         v put                           v by the last
    '-------------------------------- free --------------------------------

A slot that is held by a thread or device that was given up is never used again.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress

from danet_runtime.frames.pixel_formats import Pixels
from danet_runtime.results.slot import FrameSlot
from danet_runtime.stream.state.slots import ClosedError, Handover


class SlotPool:
    """A fixed number of slots of one size, and those of an earlier size until their last reader has finished.

    A slot stays with its holder when the camera's size changes; a slot of an earlier size is retired when it
    is given back. At most twice the number of slots are alive, since every holder holds one.

    Args:
        name: Name of the camera.
        count: Number of slots.

    Attributes:
        count: Number of slots.
        retired: Slots of an earlier size without readers; whoever pinned them unpins them.
    """

    def __init__(self, name: str, count: int) -> None:
        self.count = count
        self.retired: deque[FrameSlot] = deque()
        self._name = name
        self._free: Handover[FrameSlot] = Handover(count)
        self._lock = threading.RLock()  # taken before that of the handover
        self._current: list[FrameSlot] = []
        self._old: list[FrameSlot] = []
        self._readers: dict[FrameSlot, int] = {}  # of slots in use; 0: a single owner has it

    @property
    def slots(self) -> list[FrameSlot]:
        """All slots that may hold a frame, also those of an earlier size."""
        with self._lock:
            return [*self._current, *self._old]

    @property
    def held(self) -> dict[FrameSlot, int]:
        """Slots in use, each with its number of readers; 0: a single owner has it, which may write."""
        with self._lock:
            return dict(self._readers)

    def allocate(self, size_hw: tuple[int, int], pixels: Pixels, fps: float | None) -> bool:
        """Have slots of this size and format from now on; only from the thread that gets them.

        Where they cannot be allocated the old ones stay.

        Returns:
            Whether they are others than before.

        Raises:
            MemoryError: There is no room for them.
        """
        if self._current and (self._current[0].size_hw, self._current[0].pixels) == (size_hw, pixels):
            return False
        made = [FrameSlot(size_hw, self._name, pixels, fps) for _ in range(self.count)]
        with self._lock:
            self._free.drain()
            for slot in self._current:
                (self._old if slot in self._readers else self.retired).append(slot)
            self._current = made
            with suppress(ClosedError):
                for slot in made:
                    self._free.put(slot)
        return True

    def get(self) -> FrameSlot:
        """Wait for a free slot of the camera's present size and return it. The caller may write to it.

        Raises:
            ClosedError: The stream has ended.
        """
        slot = self._free.get()
        with self._lock:
            self._readers[slot] = 0
        return slot

    def put(self, slot: FrameSlot) -> None:
        """Give a slot back that no reader needs; only its single owner may call this.

        Raises:
            RuntimeError: The slot has no single owner.
        """
        with self._lock:
            self._require_one_hand(slot)
            self._free_again(slot)

    def share(self, slot: FrameSlot, readers: int) -> None:
        """Pass a slot from its single owner to a number of readers, each of which releases it once.

        Raises:
            RuntimeError: The slot has no single owner.
        """
        with self._lock:
            self._require_one_hand(slot)
            self._readers[slot] = readers

    def borrow(self, slot: FrameSlot) -> None:
        """Add one more reader to a slot that is being read; it must release the slot, too.

        Raises:
            RuntimeError: The slot has no reader.
        """
        with self._lock:
            self._require_readers(slot)
            self._readers[slot] += 1

    def release(self, slot: FrameSlot) -> None:
        """Note that a reader has finished with a slot; the last reader frees it.

        Raises:
            RuntimeError: The slot has no reader.
        """
        with self._lock:
            self._require_readers(slot)
            self._readers[slot] -= 1
            if not self._readers[slot]:
                self._free_again(slot)

    def close(self) -> None:
        """Give out no more."""
        self._free.abort()

    def _free_again(self, slot: FrameSlot) -> None:
        del self._readers[slot]
        if slot in self._current:
            with suppress(ClosedError):
                self._free.put(slot)  # never waits: there is a place for each
        else:
            self._old.remove(slot)
            self.retired.append(slot)

    def _require_one_hand(self, slot: FrameSlot) -> None:
        if self._readers.get(slot) != 0:
            raise RuntimeError(f"a slot of {self._name} was handed on by who does not have it alone")

    def _require_readers(self, slot: FrameSlot) -> None:
        if not self._readers.get(slot):
            raise RuntimeError(f"a slot of {self._name} was released by who does not read it")
