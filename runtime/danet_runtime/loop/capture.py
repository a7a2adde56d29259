"""The thread that reads one camera into free slots, and opens the camera again when it is lost."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from danet_runtime.clock import now_ns
from danet_runtime.errors import DanetError, SourceError
from danet_runtime.frame_checks import FrameCheck
from danet_runtime.health import Health
from danet_runtime.loop.damage_check import DamageCheck
from danet_runtime.loop.options import StreamOptions
from danet_runtime.loop.watch import Worker
from danet_runtime.pixel_formats import Pixels, pixels_of
from danet_runtime.result import FrameSlot
from danet_runtime.slots import ClosedError, Handover
from danet_runtime.sources.base import FrameInfo, Source
from danet_runtime.timing import STAGES

logger = logging.getLogger(__name__)


class Capture:
    """Of one camera.

    Args:
        number: In the name of the thread.
        name: Of the camera.
        source: Opened; not closed here.
        options: Of the stream.
        health: Of the stream.
        free: Where free slots are taken from; what is read and not wanted is dropped with the stream.
        take: Called with each slot that holds a frame; false: nothing more is wanted.
        failed: Called with what ended it.
        ended: Called when it has ended, whatever the reason.

    Attributes:
        worker: Its thread.
        damage: Its damaged frames.
        reconnects: How often the camera was opened again.
    """

    def __init__(
        self,
        number: int,
        name: str,
        source: Source,
        options: StreamOptions,
        health: Health,
        free: Handover[FrameSlot],
        take: Callable[[FrameSlot], bool],
        failed: Callable[[BaseException], None],
        ended: Callable[[], None],
    ) -> None:
        self._name = name
        self._source = source
        self._options = options
        self._health = health
        self._free = free
        self._take = take
        self._failed = failed
        self._ended = ended
        self._pixels: Pixels = pixels_of(source)
        self._check = FrameCheck(
            name,
            health,
            options.frozen_after_s,
            options.black_after_s,
            self._pixels.black_level,
            options.jump_shown_s,
        )
        self.damage = DamageCheck(name, source, options, health)
        self._end = threading.Event()
        self._interrupted = False
        self._is_opening = False
        self._id_offset = 0
        self._last_id = -1
        self._pause_s = options.reconnect_first_s
        self._reopened_s = -float("inf")
        self.reconnects = 0
        self.worker = Worker(f"capture-{number}", self._run)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will be read."""
        return self._end.is_set()

    def stop(self) -> None:
        """Read nothing more; returns at once."""
        self._end.set()
        self.interrupt()

    def interrupt(self) -> None:
        """Make a read or an opening that hangs return, where the source can be told to; from any thread."""
        interrupt = getattr(self._source, "interrupt", None)
        if interrupt is not None:
            with suppress(Exception):
                interrupt()

    def look(self) -> None:
        """What the watchdog asks: whether the source is stuck, or sends what is damaged."""
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
            while not self._end.is_set():
                slot = self._free.get()
                info = self._read(slot)
                if info is None:
                    break
                self._note(slot, info)
                if not self._take(slot):
                    break
        except ClosedError:
            pass  # the stream is being stopped, or inference has ended
        except BaseException as error:  # noqa: BLE001 - raised again in the caller
            self._give_up(error)
        finally:
            self._end.set()
            self._ended()

    def _give_up(self, error: BaseException) -> None:
        if not isinstance(error, Exception):
            error = SourceError(f"the capture thread of {self._name} was ended by {type(error).__name__}")
        # The other cameras of the stream go on, so this must be seen before the end.
        self._health.set(f"{self._name}.lost", "stale", f"{self._name} is lost: {error}")
        self._failed(error)

    def _read(self, slot: FrameSlot) -> FrameInfo | None:
        while True:
            slot.started_ns = now_ns()
            try:
                with self.worker:
                    info = self._source.read_into(slot.frame)
                if info is not None or not self._can_reopen():
                    return info
                problem = "ended"
            except DanetError as error:
                if self._end.is_set() and self._source.live:
                    return None  # it was interrupted so that the stream can end
                if not self._can_reopen():
                    raise
                problem = str(error)
            if not self._reconnect(problem, slot):
                return None

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
            self._check.look(slot.luma, info.capture_time_ns)
        slot.stage_ns[:] = (now - slot.started_ns, *[0] * (len(STAGES) - 1))

    def _can_reopen(self) -> bool:
        return self._source.live and hasattr(self._source, "reopen")

    def _reconnect(self, problem: str, slot: FrameSlot) -> bool:
        """Open the source again and again; false where the stream is stopped meanwhile.

        One that opens and is soon lost again is opened less and less often, like one that does not open.
        """
        self._health.set(f"{self._name}.lost", "stale", f"{self._name} is lost: {problem}")
        lost_s = time.monotonic()
        if lost_s - self._reopened_s > self._options.reconnect_most_s:
            self._pause_s = self._options.reconnect_first_s
        while not self._end.wait(self._pause_s * random.uniform(0.5, 1.0)):  # noqa: S311 - jitter, no secret
            self._pause_s = min(self._pause_s * 2, self._options.reconnect_most_s)
            self._health.clear(f"{self._name}.stuck")
            self._interrupted = False
            self._is_opening = True
            try:
                with self.worker:
                    self._source.reopen()  # type: ignore[attr-defined]  # see _can_reopen
            except DanetError as error:
                self._health.set(f"{self._name}.lost", "stale", f"{self._name} is lost: {error}")
                given_up = self._options.give_up_after_s
                too_long = given_up is not None and time.monotonic() - lost_s > given_up
                if too_long and not self._end.is_set():
                    raise
                continue
            finally:
                self._is_opening = False
            self._check_same(slot)
            self._reopened_s = time.monotonic()
            self.reconnects += 1
            self._id_offset = self._last_id + 2  # a gap: some were lost, nobody knows how many
            return True
        return False

    def _check_same(self, slot: FrameSlot) -> None:
        if self._source.size_hw != slot.size_hw:
            raise SourceError(
                f"{self._name} came back with frames of {self._source.size_hw}, before it had "
                f"{slot.size_hw} (height, width); start the stream again for the new size"
            )
        if pixels_of(self._source) != slot.pixels:
            raise SourceError(
                f"{self._name} came back with frames in {pixels_of(self._source)}, before it had "
                f"{slot.pixels}; start the stream again for the new format"
            )
