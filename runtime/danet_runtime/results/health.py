"""The state of a running stream, with reasons, which a vehicle checks before it trusts a mask.

A state is never set by hand. It follows from what holds at the moment::

    fault      something broke that this process cannot mend; final
    starting   the start-up checks are not done
    stale      at least one condition says that masks are not fresh
    degraded   at least one condition says that something is wrong, while masks are fresh
    ready      none of these

Conditions have a key and are set and cleared by whoever observes them; what else holds is not their business.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Literal

from danet_runtime.clock import now_ns

logger = logging.getLogger(__name__)

HealthState = Literal["starting", "ready", "degraded", "stale", "fault"]
Severity = Literal["degraded", "stale"]

_KEPT_EVENTS = 512
_DELIVERY_GRACE_S = 2.0


@dataclass(frozen=True)
class HealthEvent:
    """One change of the state or of its reasons.

    Attributes:
        monotonic_ns: Time of the change on the clock of :mod:`danet_runtime.clock`.
        unix_ns: Time of the change on the wall clock, which may jump.
        state: State after the change.
        previous: State before the change.
        reasons: All reasons for the state after the change; empty when ready.
    """

    monotonic_ns: int
    unix_ns: int
    state: HealthState
    previous: HealthState
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "monotonic_ns": self.monotonic_ns,
            "unix_ns": self.unix_ns,
            "state": self.state,
            "previous": self.previous,
            "reasons": list(self.reasons),
        }


Listener = Callable[[HealthEvent], None]


class Health:
    """The conditions that hold, and the state that follows; used from any thread.

    Listeners are called in order from a thread of their own, so that a slow one delays nothing but the
    listeners. One that raises is logged and called again for the next event.

    Args:
        listeners: Called with every change.
    """

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._lock = threading.RLock()
        self._conditions: dict[str, tuple[Severity, str]] = {}
        self._started = False
        self._fault: str | None = None
        self._state: HealthState = "starting"
        self._reasons: tuple[str, ...] = ()
        self._changes = 0
        self._events: deque[HealthEvent] = deque(maxlen=_KEPT_EVENTS)
        self._listeners = list(listeners)
        self._queue: SimpleQueue[HealthEvent | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def state(self) -> HealthState:
        """The state at this moment."""
        return self._state

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reasons why the stream is not ready."""
        return self._reasons

    @property
    def events(self) -> list[HealthEvent]:
        """The latest changes, oldest first; at most 512 are kept."""
        return list(self._events.copy())

    @property
    def changes(self) -> int:
        """Number of changes in all."""
        return self._changes

    @property
    def thread(self) -> threading.Thread | None:
        """Thread that calls the listeners; ``None`` where there is none."""
        return self._thread

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with every change from now on."""
        with self._lock:
            self._listeners.append(listener)

    def started(self) -> None:
        """Note that the start-up checks have passed."""
        with self._lock:
            self._started = True
            self._update()

    def set(self, key: str, severity: Severity, reason: str) -> None:
        """Note that a condition holds; if it held already, its reason is replaced."""
        with self._lock:
            if self._conditions.get(key) != (severity, reason):
                self._conditions[key] = (severity, reason)
                self._update()

    def clear(self, key: str) -> None:
        """Note that a condition no longer holds; harmless if it did not."""
        if key in self._conditions:
            with self._lock:
                self._conditions.pop(key, None)
                self._update()

    def fault(self, reason: str) -> None:
        """This process cannot go on; the first such reason stays."""
        with self._lock:
            if self._fault is None:
                self._fault = reason
                self._update()

    def close(self) -> None:
        """Deliver what is left to the listeners, for at most two seconds."""
        thread = self._thread
        if thread is not None:
            self._queue.put(None)
            thread.join(_DELIVERY_GRACE_S)

    def _update(self) -> None:
        reasons = tuple(reason for _, reason in self._conditions.values())
        state: HealthState
        if self._fault is not None:
            state, reasons = "fault", (self._fault, *reasons)
        elif not self._started:
            state = "starting"
        elif any(severity == "stale" for severity, _ in self._conditions.values()):
            state = "stale"
        else:
            state = "degraded" if reasons else "ready"
        if (state, reasons) == (self._state, self._reasons):
            return
        event = HealthEvent(now_ns(), time.time_ns(), state, self._state, reasons)
        self._state, self._reasons = state, reasons
        self._changes += 1
        self._events.append(event)
        logger.log(
            logging.ERROR if state == "fault" else logging.INFO, "health: %s %s", state, "; ".join(reasons)
        )
        if self._listeners:
            self._queue.put(event)
            if self._thread is None:
                thread = threading.Thread(target=self._deliver, name="danet-health", daemon=True)
                try:
                    thread.start()
                except (RuntimeError, MemoryError) as error:  # whoever tells of a change must not fail by it
                    logger.warning("listeners hear of the health with its next change: %s", error)
                else:
                    self._thread = thread

    def _deliver(self) -> None:
        while (event := self._queue.get()) is not None:
            with self._lock:
                listeners = list(self._listeners)
            for listener in listeners:
                try:
                    listener(event)
                except Exception:
                    logger.exception("a health listener raised")
