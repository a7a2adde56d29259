"""Opening several sources at once: cameras side by side, and those that are not there yet are awaited.

In a vehicle a camera comes up after the computer, connects and says nothing, or never comes; the others are
needed all the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Final

from danet_runtime.errors import DanetError, MissingDependencyError, SourceError, UsageError
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.sources.protocol.abilities import AwaitableSource
from danet_runtime.sources.protocol.damage import DamagePolicy
from danet_runtime.sources.protocol.source import Source
from danet_runtime.sources.registry import live_source, open_source

_FIRST_PAUSE_S: Final = 0.5
_MOST_PAUSE_S: Final = 5.0
_NUDGE_S: Final = 0.1
_SETTLING_S: Final = 1.0
"""Cameras of a kind are open within so much of each other; one that is later joins when it comes."""


def open_sources(
    named: Mapping[str, str],
    sizes_hw: Mapping[str, tuple[int, int]],
    *,
    realtime: bool = False,
    pixels: Pixels = BGR,
    damaged: DamagePolicy = "drop",
    wait_s: float = 0.0,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Source]:
    """Open every source, side by side.

    A camera or network stream that cannot be opened does not stop the others: it is closed, and a stream
    opens it again and again, as one that is lost. One that connects and says nothing does not stop them
    either: a second after the first source is open, those that are still being opened are left to the stream
    as well, unless ``wait_s`` grants them more. Outputs need a size before a camera has told its own, so one
    is assumed; a stream adopts the one that it comes with.

    Args:
        named: Names of the cameras, each with the text for :func:`danet_runtime.sources.open_source`.
        sizes_hw: Height and width that are assumed for each camera where it is missing, by name.
        realtime: Play files at their own rate.
        pixels: The format that is wanted.
        damaged: How frames are treated that are known or likely to be corrupt.
        wait_s: Time in seconds for which a camera is tried before it counts as missing.
        tell: Called for each that is missing, with why and what is assumed.

    Returns:
        The sources by name; the caller closes them, or hands them to a :class:`danet_runtime.Stream`.

    Raises:
        SourceError: None of them can be opened, or a file cannot be read.
        UsageError: One of the names makes no sense.
        MissingDependencyError: A program or library that one of them needs is not installed.
    """
    opened: dict[str, Source] = {}
    cameras: dict[str, AwaitableSource] = {}
    with ExitStack() as undo:
        for name, text in named.items():
            camera = live_source(text, pixels, damaged)
            source = camera or open_source(text, realtime=realtime, pixels=pixels, damaged=damaged)
            if camera is not None:
                cameras[name] = camera
            opened[name] = source
            undo.callback(source.close)
        missing = _Openings(cameras, wait_s).run(has_others=len(cameras) < len(named)) if cameras else {}
        if missing and len(missing) == len(named):
            raise _none_of(missing)
        for name, error in missing.items():
            cameras[name].await_opening(sizes_hw[name], str(error))
            tell(f"{name} is missing: {error}; it is awaited")
        undo.pop_all()
    return opened


class _Openings:
    """Cameras that are opened at the same time, each in a thread of its own.

    Args:
        cameras: Sources to open, by the names of the cameras.
        wait_s: Time in seconds for which one that cannot be opened is tried again.
    """

    def __init__(self, cameras: Mapping[str, AwaitableSource], wait_s: float) -> None:
        self._cameras = cameras
        self._wait_s = wait_s
        self._end = threading.Event()
        self._changed = threading.Event()
        self._failures: dict[str, Exception | None] = {}  # of those that are through with trying
        self._threads: list[threading.Thread] = []

    def run(self, has_others: bool) -> dict[str, Exception]:
        """Open them until each is open or given up, or long enough for those that are there to begin.

        Args:
            has_others: Whether there are sources besides, which are open.

        Returns:
            Those that are not open, and why.

        Raises:
            UsageError: One of the names makes no sense.
            MissingDependencyError: A program or library that one of them needs is not installed.
        """
        until, settled_s = time.monotonic() + self._wait_s, 0.0
        try:
            for name in self._cameras:
                self._start(name)
            while len(self._failures) < len(self._cameras):
                is_any_open = has_others or None in list(self._failures.values())
                if is_any_open:
                    settled_s = settled_s or time.monotonic() + _SETTLING_S
                    if time.monotonic() > max(settled_s, until):
                        break
                self._changed.wait(_NUDGE_S)  # in steps: a signal must be able to end it
                self._changed.clear()
                self._raise_final()
        finally:
            self._end_all()
        self._raise_final()
        return {name: why for name in self._cameras if (why := self._failures[name]) is not None}

    def _start(self, name: str) -> None:
        thread = threading.Thread(target=self._open, args=(name,), name=f"danet-open-{name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no thread is left: the stream tries again
            self._failures[name] = SourceError(f"{self._cameras[name].name} cannot be opened: {error}")
        else:
            self._threads.append(thread)

    def _open(self, name: str) -> None:
        camera, pause_s = self._cameras[name], _FIRST_PAUSE_S
        until = time.monotonic() + self._wait_s
        failure: Exception | None = SourceError(f"{camera.name} is still being opened")
        while not self._end.is_set():
            try:
                camera.reopen()
            except (UsageError, MissingDependencyError) as error:
                failure = error
                break
            except Exception as error:  # noqa: BLE001 - whatever was missing may be there at the next try
                if not self._end.is_set():  # else it was interrupted
                    failure = error
                if time.monotonic() + pause_s > until:
                    break
                self._end.wait(pause_s)
                pause_s = min(2 * pause_s, _MOST_PAUSE_S)
            else:
                failure = None
                break
        self._failures[name] = failure
        self._changed.set()

    def _end_all(self) -> None:
        self._end.set()
        while any(thread.is_alive() for thread in self._threads):
            for name, camera in self._cameras.items():
                if name not in self._failures:
                    camera.interrupt()
            self._changed.wait(_NUDGE_S / 2)
            self._changed.clear()

    def _raise_final(self) -> None:
        for failure in list(self._failures.values()):
            if isinstance(failure, (UsageError, MissingDependencyError)):
                raise failure


def _none_of(missing: Mapping[str, Exception]) -> DanetError:
    if len(missing) == 1:
        only = next(iter(missing.values()))
        return only if isinstance(only, DanetError) else SourceError(f"the source cannot be opened: {only!r}")
    reasons = "; ".join(f"{name}: {error}" for name, error in missing.items())
    return SourceError(f"none of the sources can be opened: {reasons}")
