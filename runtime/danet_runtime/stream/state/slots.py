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
from collections.abc import Sequence
from typing import Generic, Literal, TypeVar

Policy = Literal["every", "latest"]
T = TypeVar("T")


class ClosedError(Exception):
    """Raised when the handover has ended; a signal between threads that no user ever sees."""


class Handover(Generic[T]):
    """A bounded first-in-first-out queue between threads.

    Args:
        capacity: Number of items that fit.
        policy: Behaviour of a giver when it is full.

    Attributes:
        capacity: Number of items that fit.
    """

    def __init__(self, capacity: int, policy: Policy = "every") -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1 (got {capacity})")
        if policy not in ("every", "latest"):
            raise ValueError(f"policy must be 'every' or 'latest' (got {policy!r})")
        self.capacity = capacity
        self._policy = policy
        self._items: deque[T] = deque()
        self._closed = False
        self._dropped = 0
        lock = threading.RLock()  # a signal's handler may come while its thread is inside
        self._has_room = threading.Condition(lock)
        self._has_item = threading.Condition(lock)

    @property
    def dropped(self) -> int:
        """Number of items that were displaced by newer ones."""
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
                while len(self._items) >= self.capacity and not self._closed:
                    self._has_room.wait()
            if self._closed:
                raise ClosedError
            displaced = None
            if len(self._items) >= self.capacity:
                displaced = self._items.popleft()
                self._dropped += 1
            self._items.append(item)
            self._has_item.notify()
            return displaced

    def get(self) -> T:
        """Take the oldest item; wait for one where there is none.

        Raises:
            ClosedError: No item is left, and no more will be given.
        """
        with self._has_item:
            while not self._items:
                if self._closed:
                    raise ClosedError
                self._has_item.wait()
            item = self._items.popleft()
            self._has_room.notify()
            return item

    def drain(self) -> list[T]:
        """Take all that is inside, without waiting."""
        with self._has_item:
            items = list(self._items)
            self._items.clear()
            self._has_room.notify_all()
            return items

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


class Intake(Generic[T]):
    """One place for each of several givers, emptied by one taker in turn, so that none is starved.

    Args:
        policies: Behaviour of each giver when its place is full.
    """

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._policies = tuple(policies)
        self._items: list[T | None] = [None] * len(self._policies)
        self._closed = [False] * len(self._policies)
        self._dropped = [0] * len(self._policies)
        self._next = 0
        lock = threading.RLock()  # a signal's handler may come while its thread is inside
        self._has_item = threading.Condition(lock)
        self._has_room = [threading.Condition(lock) for _ in self._policies]

    def dropped(self, giver: int) -> int:
        """Return how many items of a giver were displaced by newer ones."""
        return self._dropped[giver]

    def put(self, giver: int, item: T) -> T | None:
        """Give an item.

        Returns:
            The item that this one displaced under ``latest``; else nothing.

        Raises:
            ClosedError: The giver's place has ended; the item stays with the giver.
        """
        with self._has_item:
            if self._policies[giver] == "every":
                while self._items[giver] is not None and not self._closed[giver]:
                    self._has_room[giver].wait()
            if self._closed[giver]:
                raise ClosedError
            displaced, self._items[giver] = self._items[giver], item
            self._dropped[giver] += displaced is not None
            self._has_item.notify()
            return displaced

    def get(self) -> tuple[int, T]:
        """Take an item of the giver whose turn it is, or of the next one that has any; wait where none has.

        Returns:
            The giver's number and its item.

        Raises:
            ClosedError: No item is left, and no more will be given.
        """
        with self._has_item:
            while True:
                for offset in range(len(self._items)):
                    giver = (self._next + offset) % len(self._items)
                    item = self._items[giver]
                    if item is not None:
                        self._items[giver] = None
                        self._next = giver + 1
                        self._has_room[giver].notify()
                        return giver, item
                if all(self._closed):
                    raise ClosedError
                self._has_item.wait()

    def close(self, giver: int | None = None) -> None:
        """Let nothing more of one giver in, or of any; what is inside can still be taken."""
        with self._has_item:
            for number in range(len(self._closed)) if giver is None else (giver,):
                self._closed[number] = True
                self._has_room[number].notify_all()
            self._has_item.notify_all()

    def abort(self) -> list[tuple[int, T]]:
        """Close all, and hand back what was still inside."""
        with self._has_item:
            left = [(giver, item) for giver, item in enumerate(self._items) if item is not None]
            self._items = [None] * len(self._items)
        self.close()
        return left
