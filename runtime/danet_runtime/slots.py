"""Handing preallocated slots from thread to thread: bounded, without busy waiting, never stuck.

A :class:`Handover` is one place between two stages. Its policy says what happens when it is full:

- ``every``: the giver waits until the taker has made room; nothing is lost (back-pressure).
- ``latest``: the oldest item makes room at once and goes back to the giver, who reuses it; it is counted.

Ending is explicit. ``close`` says that nothing more will come: what is inside can still be taken, then the
taker gets :class:`ClosedError`. ``abort`` throws away what is inside as well. Both wake up all who wait.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, Literal, TypeVar

Policy = Literal["every", "latest"]
T = TypeVar("T")


class ClosedError(Exception):
    """The handover has ended; a signal between threads that no user ever sees."""


class Handover(Generic[T]):
    """A bounded first-in-first-out place between threads.

    Args:
        capacity: How many items fit.
        policy: What a giver does when it is full.
    """

    def __init__(self, capacity: int, policy: Policy = "every") -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1 (got {capacity})")
        if policy not in ("every", "latest"):
            raise ValueError(f"policy must be 'every' or 'latest' (got {policy!r})")
        self._capacity = capacity
        self._policy = policy
        self._items: deque[T] = deque()
        self._closed = False
        self._dropped = 0
        lock = threading.Lock()
        self._has_room = threading.Condition(lock)
        self._has_item = threading.Condition(lock)

    @property
    def dropped(self) -> int:
        """How many items have been displaced by newer ones."""
        return self._dropped

    def put(self, item: T) -> T | None:
        """Give an item.

        Returns:
            The oldest item, displaced by this one under ``latest``; else nothing.

        Raises:
            ClosedError: The handover has ended; the item stays with the giver.
        """
        with self._has_room:
            if self._policy == "every":
                while len(self._items) >= self._capacity and not self._closed:
                    self._has_room.wait()
            if self._closed:
                raise ClosedError
            displaced = None
            if len(self._items) >= self._capacity:
                displaced = self._items.popleft()
                self._dropped += 1
            self._items.append(item)
            self._has_item.notify()
            return displaced

    def get(self) -> T:
        """Take the oldest item; wait for one where there is none.

        Raises:
            ClosedError: Nothing is left and nothing more will come.
        """
        with self._has_item:
            while not self._items:
                if self._closed:
                    raise ClosedError
                self._has_item.wait()
            item = self._items.popleft()
            self._has_room.notify()
            return item

    def close(self) -> None:
        """Let nothing more in; what is inside can still be taken. Harmless when called twice."""
        with self._has_item:
            self._closed = True
            self._has_item.notify_all()
            self._has_room.notify_all()

    def abort(self) -> list[T]:
        """Close, and hand back what was still inside. Harmless when called twice."""
        with self._has_item:
            self._closed = True
            left = list(self._items)
            self._items.clear()
            self._has_item.notify_all()
            self._has_room.notify_all()
            return left
