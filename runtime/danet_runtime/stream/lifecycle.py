"""Start and close of a stream: each happens once, whatever thread calls it, at whatever moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from danet_runtime.errors import UsageError

State = Literal["new", "starting", "running", "closing", "closed"]

_LOOK_AGAIN_S = 0.1
"""A signal's handler that waits here, too, may take away the wake-up of what it came between."""


class Lifecycle:
    """Decides which thread starts and which closes; all others wait, or return where waiting would never end.

    Its lock may be taken again by the thread that has it: a handler of a signal comes between any two steps.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._state: State = "new"
        self._busy: int | None = None  # the thread that starts or closes
        self._close_asked = False
        self._failed: BaseException | None = None
        self._was_started = False
        self._callers: set[int] = set()

    @property
    def state(self) -> State:
        """At this moment."""
        return self._state

    @property
    def was_started(self) -> bool:
        """Whether the start succeeded; stays true after the stream was closed."""
        return self._was_started

    @property
    def is_inside(self) -> bool:
        """Whether the calling thread is inside a method that may hold locks; signal handlers ask for this."""
        return threading.get_ident() in self._callers

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Be such a method: in a handler that comes between, the thread must not wait for others."""
        me = threading.get_ident()
        is_outermost = me not in self._callers
        self._callers.add(me)
        try:
            yield
        finally:
            if is_outermost:
                self._callers.discard(me)

    def begin_start(self) -> bool:
        """Return whether the calling thread has to start the stream; it then calls :meth:`end_start`.

        Waits if another thread is starting it.

        Raises:
            UsageError: It is closed, or the start failed.
        """
        me = threading.get_ident()
        with self._changed:
            while self._state == "starting" and self._busy != me:
                self._changed.wait(_LOOK_AGAIN_S)
            if self._state == "new":
                self._state, self._busy = "starting", me
                return True
            if self._state in ("starting", "running"):
                return False
            if self._failed is not None:
                raise UsageError(
                    f"the stream could not be started ({self._failed}); its sources are closed: make another"
                )
            raise UsageError("the stream has ended, and its sources are closed; make another")

    def end_start(self, failed: BaseException | None = None) -> bool:
        """Note that the start is over.

        Args:
            failed: Why it did not succeed; everything is closed again.

        Returns:
            Whether the stream is to be closed at once: that was asked for meanwhile.
        """
        with self._changed:
            self._failed = failed
            self._was_started = failed is None
            self._state, self._busy = "running" if failed is None else "closed", None
            self._changed.notify_all()
            return self._close_asked and failed is None

    def begin_close(self, *, may_wait: bool) -> State | None:
        """Begin to close, or wait for the thread that is closing.

        Args:
            may_wait: Whether the thread may wait; false if the closing thread waits for this very thread.

        Returns:
            The state before, where the calling thread has to close, or see to it, and then calls
            :meth:`end_close`; else nothing.
        """
        me = threading.get_ident()
        with self._changed:
            if self._state == "starting":
                self._close_asked = True  # whoever starts does it next
                may_wait = may_wait and self._busy != me
            elif self._state in ("new", "running"):
                before, self._state, self._busy = self._state, "closing", me
                return before
            while may_wait and self._state != "closed" and self._busy != me:
                self._changed.wait(_LOOK_AGAIN_S)
            return None

    def hand_over(self) -> None:
        """Let another thread than the one that began finish the closing."""
        with self._changed:
            self._busy = None

    def end_close(self) -> None:
        """Note that everything is closed."""
        with self._changed:
            self._state, self._busy = "closed", None
            self._changed.notify_all()
