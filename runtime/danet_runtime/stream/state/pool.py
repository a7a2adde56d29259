"""The slots of one camera: allocated once, and once more when the camera comes back with another size."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress

from danet_runtime.frames.pixel_formats import Pixels
from danet_runtime.results.result import FrameSlot
from danet_runtime.stream.state.slots import ClosedError, Handover


class SlotPool:
    """A fixed number of slots of one size, and those of a size before until their last reader is through.

    Whoever holds a slot holds it whatever size the camera has by now; put back, one of a size before is
    retired. No more slots are ever alive than twice the number, since every holder holds one.

    Args:
        name: Of the camera.
        count: How many slots there are.

    Attributes:
        count: How many slots there are.
        retired: Slots of a size before that nobody reads any more; whoever pinned them unpins them.
    """

    def __init__(self, name: str, count: int) -> None:
        self.count = count
        self.retired: deque[FrameSlot] = deque()
        self._name = name
        self._free: Handover[FrameSlot] = Handover(count)
        self._lock = threading.RLock()  # taken before that of the handover
        self._current: list[FrameSlot] = []
        self._old: list[FrameSlot] = []

    @property
    def slots(self) -> list[FrameSlot]:
        """All that may hold a frame, those of a size before as well."""
        with self._lock:
            return [*self._current, *self._old]

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
            free = self._free.drain()
            self.retired += free
            self._old += [slot for slot in self._current if slot not in free]
            self._current = made
            with suppress(ClosedError):
                for slot in made:
                    self._free.put(slot)
        return True

    def get(self) -> FrameSlot:
        """A free slot of the size that the camera has; waits for one.

        Raises:
            ClosedError: The stream has ended.
        """
        return self._free.get()

    def put(self, slot: FrameSlot) -> None:
        """A slot that nobody reads any more."""
        with self._lock:
            if slot in self._current:
                with suppress(ClosedError):
                    self._free.put(slot)  # never waits: there is a place for each
            else:
                self._old.remove(slot)
                self.retired.append(slot)

    def close(self) -> None:
        """Give out no more."""
        self._free.abort()
