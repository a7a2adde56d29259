"""Flushes growing files, so that results reach the disk within about a second while the sink writes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from danet_runtime.files.durability import sync_descriptor, sync_folder

FLUSH_EVERY_S: Final = 1.0
"""A power cut costs at most what was written since, and during the flush that runs."""


class Flusher:
    """Flushes what one sink has written, every second, in a thread of its own.

    A flush takes milliseconds on a good disk and seconds on a bad one; neither the sink nor the stream waits
    for it. A sink tells how far behind it is by an attribute ``unflushed_s``, and the stream's health warns
    of it.

    Args:
        name: Name of the file or folder that is flushed; it is part of the thread's name.
        flush: Called in the thread, and at last by :meth:`close`: flushes what was written until now.

    Attributes:
        error: Why a flush failed. What it was to flush may be lost, also where a later flush succeeds.
    """

    def __init__(self, name: str, flush: Callable[[], None]) -> None:
        self._flush = flush
        self.error: OSError | None = None
        self._since_ns = 0  # when the oldest was written that no flush has begun for
        self._flushing_ns = 0  # likewise of the flush that runs
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"danet-flush-{name}", daemon=True)

    @classmethod
    def of_file(cls, path: Path, descriptor: int) -> Flusher:
        """Make a flusher of an open file that grows; its first flush also flushes the file's name."""
        is_named = False

        def flush() -> None:
            nonlocal is_named
            sync_descriptor(descriptor)
            if not is_named:
                sync_folder(path.parent)
                is_named = True

        return cls(path.name, flush)

    def start(self) -> None:
        """Begin to flush."""
        self._thread.start()

    def note(self) -> None:
        """Something was written."""
        if not self._since_ns:
            self._since_ns = time.monotonic_ns()

    @property
    def behind_s(self) -> float:
        """How long ago the oldest was written that may not be on the disk; 0 where all is."""
        since_ns = self._flushing_ns or self._since_ns
        return (time.monotonic_ns() - since_ns) / 1e9 if since_ns else 0.0

    def close(self) -> None:
        """Flush the rest and end the thread; waits for a flush that runs. Harmless when called twice.

        Raises:
            OSError: Not everything reached the disk.
        """
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        self._flush_now()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        while not self._end.wait(FLUSH_EVERY_S):
            self._flush_now()

    def _flush_now(self) -> None:
        # In this order: what is written from here on is noted anew, and what was before is flushed.
        self._flushing_ns, self._since_ns = self._since_ns, 0
        if not self._flushing_ns:
            return
        try:
            self._flush()
        except OSError as error:
            self.error = self.error or error
        self._flushing_ns = 0
