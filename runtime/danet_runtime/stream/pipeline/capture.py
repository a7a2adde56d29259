"""The thread that reads one camera into free slots, and opens the camera again when it is lost."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from danet_runtime.clock import now_ns
from danet_runtime.errors import (
    DanetError,
    MissingDependencyError,
    SourceDamagedError,
    SourceError,
    UsageError,
)
from danet_runtime.frames.pixel_formats import pixels_of
from danet_runtime.processes.running import RUNNING
from danet_runtime.results.slot import FrameSlot
from danet_runtime.sources.protocol.abilities import Interruptible, Reopenable, why_awaited
from danet_runtime.sources.protocol.source import FrameInfo
from danet_runtime.stream.pipeline.camera import Camera
from danet_runtime.stream.pipeline.damage_check import DamageCheck
from danet_runtime.stream.pipeline.frame_checks import FrameCheck
from danet_runtime.stream.state.context import StreamContext
from danet_runtime.stream.state.pool import SlotPool
from danet_runtime.stream.state.slots import ClosedError
from danet_runtime.stream.state.watch import Worker
from danet_runtime.timing import STAGES

logger = logging.getLogger(__name__)

_FINAL: Final = (UsageError, MissingDependencyError)
"""Errors after which opening the source again is pointless."""


class Capture:
    """Capture of one camera's frames on a thread of its own; a live source that fails is opened again.

    Args:
        camera: The camera to read.
        context: Shared state of the stream.
        slots: Pool that free slots are taken from.
        take: Called with each slot that holds a frame, and owns it from then on; false: nothing more is
            wanted.
        adopt: Called when the source was opened again, perhaps with another size or format: ``slots`` are of
            that from then on. What it raises is a failed opening.
        ended: Called when capture has ended, whatever the reason.

    Attributes:
        worker: Thread of the capture.
        damage: Check of the camera's damaged frames.
        reconnects: Number of times that the camera was opened again.
    """

    def __init__(
        self,
        camera: Camera,
        context: StreamContext,
        slots: SlotPool,
        take: Callable[[FrameSlot], bool],
        adopt: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        self._name = camera.name
        self._source = camera.source
        self._context = context
        self._options = context.options
        self._health = context.health
        self._slots = slots
        self._take = take
        self._adopt = adopt
        self._ended = ended
        self._check = self._make_check()
        self.damage = DamageCheck(camera.name, camera.source, context)
        self._end = threading.Event()
        self._interrupted = False
        self._is_opening = False
        self._id_offset = 0
        self._last_id = -1
        self._pause_s = context.options.reconnect_first_s
        self._reopened_ns = -(10**18)  # long ago
        self._read_ns = now_ns()  # when the last frame was read
        self.reconnects = 0
        self.worker = Worker(f"capture-{camera.number}", self._run)

    @property
    def has_ended(self) -> bool:
        """Whether capture has ended, so that no more frames will be read."""
        return self._end.is_set()

    def stop(self) -> None:
        """Read nothing more; returns at once."""
        self._end.set()
        self.interrupt()

    def interrupt(self) -> None:
        """Make a read or an opening that hangs return, where the source can be told to; from any thread."""
        if isinstance(self._source, Interruptible):
            with suppress(Exception):
                self._source.interrupt()

    def look(self) -> None:
        """Check for the watchdog whether the source is stuck, or sends damaged frames."""
        self.damage.look()
        limit_s = self._options.open_timeout_s if self._is_opening else self._options.source_timeout_s
        if self.damage.silent_s < limit_s:  # it lives, and waits for a key frame
            limit_s = max(limit_s, self._options.key_frame_timeout_s)
        if self.has_ended or self.worker.busy_s <= limit_s:
            return
        what = "could not be opened" if self._is_opening else "has given no frame"
        self._health.set(f"{self._name}.stuck", "stale", f"{self._name} {what} for {limit_s:g} s")
        if not self._interrupted:
            self._interrupted = True
            self.interrupt()

    # The thread.

    def _run(self) -> None:
        try:
            awaited = why_awaited(self._source)
            if awaited is not None and not self._reconnect(awaited, pause_s=0.0):
                return
            while not self._end.is_set():
                try:
                    if not self._capture():
                        break
                except _LostError as lost:
                    if not self._reconnect(str(lost), lost.pause_s):
                        break
        except ClosedError:
            pass  # the stream is being stopped, or inference has ended
        except BaseException as error:  # noqa: BLE001 - raised again in the caller
            self._give_up(error)
        finally:
            self._end.set()
            self._ended()

    def _capture(self) -> bool:
        """Read one frame and hand it on; false where nothing more comes, or is wanted."""
        slot = self._slots.get()
        try:
            info = self._read(slot)
            if info is not None:
                self._note(slot, info)
        except BaseException:
            self._slots.put(slot)
            raise
        if info is None:
            self._slots.put(slot)
            return False
        return self._take(slot)

    def _give_up(self, error: BaseException) -> None:
        if not isinstance(error, Exception):
            error = SourceError(f"the capture thread of {self._name} was ended by {type(error).__name__}")
        # The other cameras of the stream go on, so this must be seen before the end.
        if isinstance(error, SourceDamagedError):  # a file, which was read as far as was asked for
            self._health.set(f"{self._name}.lost", "degraded", f"{self._name} has ended: {error}")
        else:
            self._health.set(f"{self._name}.lost", "stale", f"{self._name} is lost: {error}")
        self._context.fail(error)

    def _read(self, slot: FrameSlot) -> FrameInfo | None:
        while True:
            slot.started_ns = now_ns()
            try:
                with self.worker:
                    info = self._source.read_into(slot.frame)
            except Exception as error:
                if self._end.is_set() and self._source.live:
                    return None  # it was interrupted so that the stream can end
                if not self._can_reopen() or isinstance(error, _FINAL):
                    raise
                raise _LostError(_words(error)) from error
            if info is None:
                if self._can_reopen():
                    raise _LostError("ended")
                return None
            before, self._read_ns = self._read_ns, now_ns()
            if not (self._source.live and RUNNING.resumed_ns() > before):
                return info
            self._check.restart()
            if info.clock != "arrival":
                return info  # its age is true
            # It may have waited here for as long as the process stood still, and more of them wait behind it.
            self._last_id = info.id + self._id_offset
            if self._can_reopen():
                raise _LostError("the process stood still, and nobody knows how old waiting frames are", 0.0)

    def _note(self, slot: FrameSlot, info: FrameInfo) -> None:
        self._interrupted = False
        self._health.clear(f"{self._name}.stuck")
        self._health.clear(f"{self._name}.lost")
        if self._id_offset:
            info = replace(info, id=info.id + self._id_offset)
        self._last_id = info.id
        slot.info = info
        if info.damage is not None:
            self.damage.look()  # before anybody gets it, not when the watchdog comes by
        now = now_ns()
        if self._source.live:
            # The wait for a frame that was not there yet is nobody's latency; that of one that was, is.
            slot.started_ns = min(now, max(info.capture_time_ns, 0))
            self._check.look(slot.luma, info.capture_time_ns, info.clock)
        slot.stage_ns.update(dict.fromkeys(STAGES, 0))
        slot.stage_ns["capture"] = now - slot.started_ns

    def _can_reopen(self) -> bool:
        return self._source.live and isinstance(self._source, Reopenable)

    def _reconnect(self, problem: str, pause_s: float | None = None) -> bool:
        """Open the source again and again; false where the stream is stopped meanwhile.

        One that opens and is soon lost again is opened less and less often, like one that does not open.
        Whatever an opening raises is tried again: what was missing, a file descriptor, a thread or memory,
        may be there at the next try.

        Args:
            problem: Why, for the health.
            pause_s: Wait before the first try; by default as long as before the last one.

        Raises:
            DanetError: It was lost for too long, or can never be opened.
        """
        self._health.set(f"{self._name}.lost", "stale", f"{self._name} is lost: {problem}")
        lost_ns = RUNNING.now_ns()
        if (lost_ns - self._reopened_ns) / 1e9 > self._options.reconnect_most_s:
            self._pause_s = self._options.reconnect_first_s
        while not self._end.wait(self._jittered() if pause_s is None else pause_s):
            pause_s = None
            self._health.clear(f"{self._name}.stuck")
            self._interrupted = False
            self._is_opening = True
            try:
                with self.worker:
                    self._source.reopen()  # type: ignore[attr-defined]  # see _can_reopen
                self._adopt()
            except _FINAL:
                raise
            except Exception as error:
                if self._end.is_set():
                    break  # it was interrupted so that the stream can end, which is no news of the camera
                words = _words(error)
                self._health.set(f"{self._name}.lost", "stale", f"{self._name} is lost: {words}")
                given_up = self._options.give_up_after_s
                too_long = given_up is not None and (RUNNING.now_ns() - lost_ns) / 1e9 > given_up
                if too_long:
                    raise error if isinstance(error, DanetError) else SourceError(words) from error
                continue
            finally:
                self._is_opening = False
            self._check = self._make_check()
            self._read_ns = now_ns()
            self._reopened_ns = RUNNING.now_ns()
            self.reconnects += 1
            self._id_offset = self._last_id + 2  # a gap: some were lost, nobody knows how many
            return True
        return False

    def _jittered(self) -> float:
        pause_s = self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
        self._pause_s = min(self._pause_s * 2, self._options.reconnect_most_s)
        return pause_s

    def _make_check(self) -> FrameCheck:
        options = self._options
        return FrameCheck(
            self._name,
            self._health,
            options.frozen_after_s,
            options.black_after_s,
            pixels_of(self._source).black_level,
            options.jump_shown_s,
        )


class _LostError(Exception):
    """Raised when the camera must be opened again; holds the reason and the wait before that."""

    def __init__(self, words: str, pause_s: float | None = None) -> None:
        super().__init__(words)
        self.pause_s = pause_s


def _words(error: Exception) -> str:
    """Return an error's message, preceded by its type if it is not one of this project's errors."""
    if isinstance(error, DanetError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
