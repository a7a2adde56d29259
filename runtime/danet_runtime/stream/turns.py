"""Turns at the results of a stream: one loop takes them at a time, and nobody reads reused arrays."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from danet_runtime.errors import UsageError
from danet_runtime.results.result import Result
from danet_runtime.results.slot import FrameSlot
from danet_runtime.stream.pipeline.delivery import Delivery


class _Held(NamedTuple):
    delivery: Delivery
    slot: FrameSlot
    turn: int


class Turns:
    """Gives results out: copies, or views whose slot is taken back when the next is asked for.

    A loop that another thread begins takes over. The view that the loop before holds may still be read there:
    it is used again only when that loop comes back, which is an error there, or when a third one takes over.

    Args:
        take: The next result; waits for it, and raises ``ClosedError`` where there is no more.

    Attributes:
        newest: The turn of the loop that was begun last.
    """

    def __init__(self, take: Callable[[], tuple[Delivery, FrameSlot]]) -> None:
        self.newest = 0
        self._take = take
        self._begun = threading.RLock()
        self._thread: int | None = None
        self._asked = threading.Lock()  # as long as a thread asks
        self._held: _Held | None = None
        self._left: _Held | None = None  # what a loop holds whose turn is over

    def begin(self) -> int:
        """Begin a loop in the calling thread, and return its turn."""
        with self._begun:
            if self._thread != threading.get_ident():
                self._thread = threading.get_ident()
                self.newest += 1
            return self.newest

    def next(self, turn: int, *, copy: bool) -> Result:
        """Return the next result; the arrays of the view before are used again.

        Args:
            turn: The loop that asks.
            copy: Whether the result is the caller's own; else a view.

        Raises:
            UsageError: Another thread is asking, or has begun a loop since.
            ClosedError: There is no more.
        """
        if not self._asked.acquire(blocking=False):
            raise UsageError(
                "two threads ask one stream for a result; take them in one loop, and hand the results on"
            )
        try:
            if turn != self.newest:
                self._let_go_of(turn)
                raise UsageError(
                    "another thread has begun to iterate over the stream; take the results in one loop, and "
                    "hand them on"
                )
            self._make_room(turn)
            delivery, slot = self._take()
            if copy:
                try:
                    return slot.own_result()
                finally:
                    delivery.release(slot)
            self._held = _Held(delivery, slot, turn)
            return slot.result()
        finally:
            self._asked.release()

    def _make_room(self, turn: int) -> None:
        held, self._held = self._held, None
        if held is not None and held.turn != turn:
            self._left, held = held, self._left
        if held is not None:
            held.delivery.release(held.slot)

    def _let_go_of(self, turn: int) -> None:
        if self._left is not None and self._left.turn == turn:
            left, self._left = self._left, None
            left.delivery.release(left.slot)
