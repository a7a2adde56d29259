"""A sink in its own thread: it can be slow or fail without anybody waiting for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from danet_runtime.errors import SinkError
from danet_runtime.results.slot import FrameSlot
from danet_runtime.sinks.protocol import abilities
from danet_runtime.sinks.protocol.sink import Sink, StreamFormat
from danet_runtime.stream.pipeline.sink_format import SinkFormat
from danet_runtime.stream.state.context import StreamContext
from danet_runtime.stream.state.slots import ClosedError, Handover, Policy
from danet_runtime.stream.state.watch import Worker

logger = logging.getLogger(__name__)

_AGAIN_S = 0.05
_HOLE_SHOWN_S = 10.0


class SinkWorker:
    """One sink of one camera.

    Under ``every`` the stream waits for the sink, and its first failure is its last; one that hangs is given
    up, and the stream goes on without it. Where a failure may pass (an attribute ``recovers`` of the sink),
    the write is tried again for a while before. Under ``latest`` a frame that the sink is not ready for is
    dropped for this sink alone, and it may fail several times in a row, without end where that may pass.

    What a sink has lost and goes on after (its attribute ``holes``) is shown in the health for a while.

    Args:
        sink: Sink that writes the results.
        key: Name of the sink in the health and in errors.
        policy: Policy of its camera, ``every`` or ``latest``.
        context: Shared state of the stream.
        done: Called with each slot that the sink has finished with, and the nanoseconds that it took.
        failed: Called with the error when the sink is given up or cannot be finished.

    Attributes:
        worker: Thread of the sink.
        written: Results that were written.
        dropped: Results that came while the sink was busy.
        failures: Writes that failed.
        skipped: Results of a size that the sink does not take.
        lost: Whether the sink was given up.
        last_failure: Why it failed the last time, or was given up; ``None``: it never did.
    """

    def __init__(
        self,
        sink: Sink,
        key: str,
        policy: Policy,
        context: StreamContext,
        done: Callable[[FrameSlot, int], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.sink = sink
        self._key = key
        self._policy = policy
        self._options = context.options
        self._health = context.health
        self._done = done
        self._failed = failed
        self._place: Handover[FrameSlot] = Handover(1, policy)
        self._row = 0
        self._holes_reported = 0
        self._hole_shown_until_ns = 0
        self._has_ended = False
        self._format = SinkFormat(sink, key, context.health)
        self.worker = Worker(key, self._drain)
        self.written = 0
        self.failures = 0
        self.skipped = 0
        self.lost = False
        self.last_failure: str | None = None

    @property
    def dropped(self) -> int:
        """Results that the sink was not ready for."""
        return self._place.dropped

    def open(self, stream_format: StreamFormat, *, is_assumed: bool = False) -> None:
        """Open the sink; see :meth:`danet_runtime.stream.pipeline.sink_format.SinkFormat.open`."""
        self._format.open(stream_format, is_assumed=is_assumed)

    def give(self, slot: FrameSlot) -> None:
        """Hand over one result; waits only under ``every``."""
        try:
            displaced = self._place.put(slot)
        except ClosedError:  # it was given up
            displaced = slot
        if displaced is not None:
            self._done(displaced, 0)

    def end(self) -> None:
        """Accept no more frames: write those that are waiting, then finish the sink."""
        self._place.close()

    def give_up_after(self, limit_s: float) -> None:
        """Go on without the sink if it has been busy with one frame for ``limit_s`` seconds; from any thread.

        Its thread hangs and cannot be ended: it keeps the slot that it holds, and nobody waits for it.
        """
        if self.lost or self.worker.busy_s < limit_s:
            return
        self.lost = True
        self.last_failure = f"it did not finish one frame within {limit_s:g} s"
        reason = f"{self._key} was given up: {self.last_failure}"
        self._health.set(f"{self._key}.failing", "degraded", reason)
        self._failed(SinkError(f"{reason}; its output is cut"))
        for slot in self._place.abort():
            self._done(slot, 0)

    def look(self) -> None:
        """Check for the watchdog whether the sink hangs."""
        if self._policy == "every":
            self.give_up_after(self._options.sink_give_up_s)
        stuck = not self.lost and self.worker.busy_s > self._options.sink_timeout_s
        if stuck:
            reason = (
                f"{self._key} has been busy for more than {self._options.sink_timeout_s:g} s with one frame"
            )
            self._health.set(f"{self._key}.stuck", "degraded", reason)
        else:
            self._health.clear(f"{self._key}.stuck")
        self._look_at_disk()
        if self._hole_shown_until_ns and time.monotonic_ns() > self._hole_shown_until_ns:
            self._hole_shown_until_ns = 0
            self._health.clear(f"{self._key}.cut")

    def _look_at_disk(self) -> None:
        behind_s = abilities.unflushed_s(self.sink)
        if behind_s > self._options.sink_timeout_s:
            reason = (
                f"{self._key} has not been flushed to the disk for more than "
                f"{self._options.sink_timeout_s:g} s; a power cut would cost as much"
            )
            self._health.set(f"{self._key}.unflushed", "degraded", reason)
        else:
            self._health.clear(f"{self._key}.unflushed")

    def describe(self) -> dict[str, Any]:
        """Describe the sink and its counts; frames that never left a helper process are not 'written'."""
        unsent = abilities.unsent(self.sink)
        return {
            **self.sink.describe(),
            "written": self.written - unsent,
            "dropped": self.dropped,
            "skipped": self.skipped,
            "failed": self.failures + (unsent if self._has_ended else 0),
            "given_up": self.lost,
            "last_failure": self.last_failure,
        }

    def _drain(self) -> None:
        try:
            while not self.lost:
                self._write(self._place.get())
        except ClosedError:
            pass
        except BaseException as error:  # noqa: BLE001 - the thread was killed; told to the caller
            self.lost = True
            self.last_failure = "its thread was ended"
            reason = f"{self._key} was given up: {self.last_failure}"
            self._health.set(f"{self._key}.failing", "degraded", reason)
            self._failed(_as_error(error, self._key))
        finally:
            for slot in self._place.abort():
                self._done(slot, 0)
            try:
                with self.worker:
                    if self._format.is_open:
                        self.sink.close()
            except BaseException as error:  # noqa: BLE001 - told to the caller
                self._failed(_as_error(error, self._key))
            self._has_ended = True
            self._look_for_holes()

    def _write(self, slot: FrameSlot) -> None:
        started = time.monotonic_ns()
        try:
            with self.worker:
                if not self._format.fits(slot):
                    self.skipped += 1
                    return
                self._write_at_last(slot)
        except Exception as error:  # noqa: BLE001 - a sink may raise anything; it is counted and told
            self._note_failure(error)
        else:
            self.written += 1
            if self._row:
                self._row = 0
                self._health.clear(f"{self._key}.failing")
        finally:
            self._look_for_holes()
            self._done(slot, time.monotonic_ns() - started)

    def _write_at_last(self, slot: FrameSlot) -> None:
        """Write; under ``every``, where nothing may be lost, again and again while that may help."""
        until = time.monotonic() + self._options.sink_recovery_s
        while True:
            try:
                self.sink.write(slot.result())
                return
            except Exception as error:
                may_pass = self._policy == "every" and abilities.may_recover(self.sink)
                if not may_pass or self.lost or time.monotonic() > until:
                    raise
                self._row, self.last_failure = 1, str(error)
                self._health.set(f"{self._key}.failing", "degraded", f"{self._key} fails: {error}")
            time.sleep(_AGAIN_S)

    def _look_for_holes(self) -> None:
        holes = abilities.holes_of(self.sink)
        if len(holes) > self._holes_reported:
            new = "; ".join(holes[self._holes_reported :])
            self._holes_reported = len(holes)
            self._health.set(f"{self._key}.cut", "degraded", f"{self._key} is not whole: {new}")
            self._hole_shown_until_ns = time.monotonic_ns() + int(_HOLE_SHOWN_S * 1e9)

    def _note_failure(self, error: Exception) -> None:
        self.failures += 1
        self._row += 1
        self.last_failure = str(error)
        if self._row & (self._row - 1) == 0:  # the first, second, fourth, ...: it may fail for hours
            logger.warning("%s failed (%d in a row): %s", self._key, self._row, error)
        self._health.set(f"{self._key}.failing", "degraded", f"{self._key} fails: {error}")
        is_lost = self._row >= self._options.sink_failures and not abilities.comes_back(self.sink)
        if self._policy == "every" or is_lost:
            self.lost = True
            self._health.set(f"{self._key}.failing", "degraded", f"{self._key} was given up: {error}")
            self._failed(_as_error(error, self._key))


def _as_error(error: BaseException, key: str) -> BaseException:
    if isinstance(error, Exception):
        return error
    return SinkError(f"the thread of {key} was ended by {type(error).__name__}; its output may not be whole")
