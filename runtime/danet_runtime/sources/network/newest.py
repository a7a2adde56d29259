"""Between a thread that takes whatever comes and one that cannot keep up: the newest waits, no other."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from danet_runtime.sources.protocol.damage import DamageReason


class _Item(Protocol):
    @property
    def damage(self) -> DamageReason | None: ...


ItemT = TypeVar("ItemT", bound=_Item)


class Newest(Generic[ItemT]):
    """One place: what is put there replaces what waits, but a damaged item never replaces a good one.

    Damaged items that nobody takes are counted, so that no damage passes unseen; good ones that are replaced
    are those that a live source drops.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: ItemT | None = None
        self._damaged: Counter[DamageReason] = Counter()
        self._is_closed = False

    def put(self, item: ItemT) -> None:
        """Let an item wait to be taken."""
        with self._changed:
            waiting = self._item
            if item.damage is not None and waiting is not None and waiting.damage is None:
                self._damaged[item.damage] += 1
            else:
                self._item = item
                if waiting is not None and waiting.damage is not None:
                    self._damaged[waiting.damage] += 1
            self._changed.notify()

    def count(self, reason: DamageReason, items: int = 1) -> None:
        """Note damaged items that cannot be delivered at all."""
        with self._changed:
            self._damaged[reason] += items
            self._changed.notify()

    def close(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def take(self) -> tuple[ItemT | None, Iterable[tuple[DamageReason, int]]]:
        """Wait for an item, or for damage; what has been put last goes first, then the end.

        Returns:
            The item, if any, and the damaged ones that were left out since the last call.

        Raises:
            EOFError: It is closed, and everything has been taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._damaged or self._is_closed)
            if self._item is None and not self._damaged:
                raise EOFError
            item, self._item = self._item, None
            damaged, self._damaged = self._damaged, Counter()
            return item, damaged.items()
