"""Writes flight recordings into their folder: one at a time, numbered, no more than are of use."""

from __future__ import annotations

import atexit
import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from danet_runtime.errors import DanetError
from danet_runtime.files.partials import discard, remove_dead_in
from danet_runtime.recorder.format import RECORDING_PREFIX, next_number, recording_name, recordings_in

logger = logging.getLogger(__name__)

APART_S: Final = 5.0
"""Least time between two recordings on request, in seconds; half the span of one where that is shorter.

So the later recording holds both moments.
"""

FULL_RECORDINGS: Final = 16
"""Most room for recordings on request where none is ever removed, in multiples of one's memory limit."""

FINISH_S: Final = 60.0
"""Longest wait for writing that is under way, in seconds: a bad disk is slow, a dead one never returns."""

_PARTIALS: Final = re.compile(rf"\.{RECORDING_PREFIX}.+\.(partial|old)")


@dataclass(frozen=True)
class _Request:
    reason: str
    is_fault: bool = False


class RecordingWriter:
    """Answers requests for recordings in one thread.

    A request that comes while a recording is being written, or soon after, waits; all that wait are answered
    by one recording. A fault waits for nothing but the recording that is being written. Numbers of recordings
    only grow, whatever the clock does.

    Args:
        folder: Folder of the recordings, each in a folder of its own.
        save: Writes one recording; called with its path, its reason and its number.
        seconds: Length of the time before the request that a recording covers.
        full_bytes: Most bytes that a recording takes.
        keep: Number of recordings that stay in ``folder``; ``None``: all.

    Attributes:
        written: Folders that were written, and are kept.
        unwritten: Reasons why recordings that were asked for could not be written.
        refused: Recordings on request that were not written, because those before had taken all the room.
        leftovers: Unfinished recordings of killed processes that were removed from the folder.
    """

    def __init__(
        self,
        folder: Path,
        save: Callable[[Path, str, int], Path],
        *,
        seconds: float,
        full_bytes: int,
        keep: int | None,
    ) -> None:
        self._folder = folder
        self._save = save
        self._apart_s = min(APART_S, seconds / 2)
        self._room_bytes = FULL_RECORDINGS * full_bytes
        self._most = keep
        # The only queue whose put() may be interrupted by another, as one by a signal's handler is.
        self._asked: SimpleQueue[_Request | threading.Event | None] = SimpleQueue()
        self._lock = threading.Lock()  # guards the thread; never taken by a request
        self._thread: threading.Thread | None = None
        self._is_open = False
        self._was_closed = False
        self._number = 0
        self._next_s = 0.0  # when a request is answered at the earliest
        self.written: list[Path] = []
        self.unwritten: list[str] = []
        self.refused = 0
        self.leftovers = 0

    def open(self) -> None:
        """Begin to answer; first remove what killed processes left unfinished. Harmless when repeated."""
        if not self._is_open:
            self.leftovers += len(remove_dead_in(self._folder, _PARTIALS))
        self._is_open, self._was_closed = True, False
        self._start()

    def request(self, reason: str) -> None:
        """Ask for a recording, from anywhere, a signal's handler included; nothing is done once closed."""
        if not self._was_closed:
            self._asked.put(_Request(reason))

    def write_fault(self, reason: str) -> None:
        """Ask for the recording of a fault, also where this is not open; not from a signal's handler."""
        self._asked.put(_Request(reason, is_fault=True))
        self._start()

    def finish(self, limit_s: float = FINISH_S) -> bool:
        """Write what waits at once, and wait until what was asked for is written; whether it is."""
        done = threading.Event()
        with self._lock:
            if self._thread is None:
                return True
            self._asked.put(done)
        return done.wait(limit_s)

    def close(self, limit_s: float) -> None:
        """Write what was asked for and answer no more requests; waits for it no longer than asked."""
        self.finish(limit_s)
        self._is_open, self._was_closed = False, True
        self._asked.put(None)  # wakes the thread, to end

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                name = "danet-flight-recorder-write"
                self._thread = threading.Thread(target=self._answer_all, name=name, daemon=True)
                self._thread.start()
                atexit.register(self.finish)  # a daemon, or it would keep the interpreter from ending

    # The thread.

    def _answer_all(self) -> None:
        waiting: _Request | None = None
        while True:
            asked = self._next(waiting is not None)
            if isinstance(asked, _Request):
                if waiting is None or asked.is_fault:
                    waiting = asked
                if not waiting.is_fault and time.monotonic() < self._next_s:
                    continue
            if waiting is not None:
                self._write(waiting)
                waiting = None
            if isinstance(asked, threading.Event):
                asked.set()
            if self._was_closed:
                with self._lock:  # who asks for more after this begins a new thread
                    if self._asked.empty():
                        self._thread = None
                        atexit.unregister(self.finish)
                        return

    def _next(self, is_waiting: bool) -> _Request | threading.Event | None:
        """Return the next request; ``None`` when it is time to answer waiting requests, or perhaps to end."""
        try:
            return self._asked.get(timeout=max(0.0, self._next_s - time.monotonic()) if is_waiting else None)
        except Empty:
            return None

    def _write(self, request: _Request) -> None:
        if not request.is_fault and self._most is None and self._room_bytes <= 0:
            self.refused += 1
            if self.refused == 1:
                logger.warning(
                    "no more flight recordings are written to %s on request: those of this run have taken as "
                    "much room as they may; limit their number, so that the oldest make room",
                    self._folder,
                )
            return
        self._next_s = time.monotonic() + self._apart_s
        try:
            self._number = max(self._number + 1, next_number(self._folder))
            path = self._folder / recording_name(self._number, request.reason)
            self.written.append(self._save(path, request.reason, self._number))
            if not request.is_fault:
                self._room_bytes -= sum(file.stat().st_size for file in path.rglob("*"))
            if self._most is not None:
                remove_oldest(self._folder, self._most)
                self.written = [path for path in self.written if path.exists()]
        except (DanetError, OSError) as error:
            logger.error("%s", error)
            self.unwritten.append(str(error))
        except Exception as error:  # the thread must live for the next one
            logger.exception("the flight recording cannot be written")
            self.unwritten.append(f"{type(error).__name__}: {error}")


def remove_oldest(folder: Path, keep: int) -> None:
    """Remove all flight recordings of a folder but those with the highest numbers.

    Nothing else in it is touched.

    One that cannot be removed is logged and tried again the next time.
    """
    mine = [
        path
        for path in recordings_in(folder)
        if path.parent == folder and path.name.startswith(RECORDING_PREFIX)
    ]
    for recording in mine[:-keep]:
        try:
            discard(recording)
        except OSError as error:
            logger.warning("the flight recording %s is not removed: %s", recording, error.strerror or error)
