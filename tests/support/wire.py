"""A network in user space: what goes through it is delayed, lost, put out of order or cut off, by a seed."""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class WireRules:
    """How bad it is; may be changed at any time.

    Attributes:
        loss: Share of the datagrams that are lost.
        delay_s: That of all; a function of the seconds since the wire was made, or a constant.
        jitter_s: Up to so much more, in order.
        reorder: Share of the datagrams that are held for 2 to 12 ms, and overtaken meanwhile.
        cut: Whether nothing comes through.
        seed: Seed of the chance.
    """

    loss: float = 0.0
    delay_s: float | Callable[[float], float] = 0.0
    jitter_s: float = 0.0
    reorder: float = 0.0
    cut: bool = False
    seed: int = 0
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)


class Wire:
    """Carries datagrams in a thread of its own; use it in a ``with`` block.

    Args:
        rules: How bad it is.
    """

    def __init__(self, rules: WireRules) -> None:
        self.rules = rules
        self._made_s = time.monotonic()
        self._last_due_s = 0.0
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._changed = threading.Condition()
        self._ends = False
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)

    def __enter__(self) -> Wire:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ends = True
            self._changed.notify()
        self._thread.join(5)

    def send(self, deliver: Callable[[], None], *, may_be_lost: bool = True) -> bool:
        """Carry something; ``deliver`` is called when it arrives.

        Returns:
            Whether it will arrive.
        """
        rules = self.rules
        chance = rules.random
        is_lost = rules.cut or (may_be_lost and chance.random() < rules.loss)
        if is_lost:
            return False
        now = time.monotonic()
        delay = rules.delay_s(now - self._made_s) if callable(rules.delay_s) else rules.delay_s
        due = max(self._last_due_s, now + delay + rules.jitter_s * chance.random())
        self._last_due_s = due
        if chance.random() < rules.reorder:
            due += chance.uniform(0.002, 0.012)
        with self._changed:
            self._count += 1
            heapq.heappush(self._waiting, (due, self._count, deliver))
            self._changed.notify()
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._ends and (not self._waiting or self._waiting[0][0] > time.monotonic()):
                    pause = self._waiting[0][0] - time.monotonic() if self._waiting else None
                    self._changed.wait(pause if pause is None or pause > 0 else 0)
                if self._ends:
                    return
                _, _, deliver = heapq.heappop(self._waiting)
            deliver()
