"""Opening several sources at once: cameras side by side, and those that are not there yet are awaited.

In a vehicle a camera comes up after the computer, or not at all; the others are needed all the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Final

from danet_runtime.errors import DanetError, SourceError
from danet_runtime.pixel_formats import BGR, Pixels
from danet_runtime.sources import live_source, open_source
from danet_runtime.sources.base import Source
from danet_runtime.sources.damage import DamagePolicy
from danet_runtime.sources.live import LiveSource

_FIRST_PAUSE_S: Final = 0.5
_MOST_PAUSE_S: Final = 5.0
_NUDGE_S: Final = 0.1


def open_sources(
    named: Mapping[str, str],
    size_hw: tuple[int, int],
    *,
    realtime: bool = False,
    pixels: Pixels = BGR,
    damaged: DamagePolicy = "drop",
    sizes_hw: Mapping[str, tuple[int, int]] | None = None,
    wait_s: float = 0.0,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Source]:
    """Open every source, in the time of the slowest.

    A camera or network stream that cannot be opened does not stop the others: it is closed, and a stream
    opens it again and again, as one that is lost. Buffers and outputs need a size before it has told its own,
    so one is assumed; a camera that comes with another ends its part of the stream with an error.

    Args:
        named: What :func:`danet_runtime.sources.open_source` takes, by the names of the cameras.
        size_hw: Height and width that are assumed for a missing camera.
        realtime: Play files at their own rate.
        pixels: The format that is wanted.
        damaged: What becomes of frames that are known or likely to be corrupt.
        sizes_hw: Where it differs, by name.
        wait_s: Try for so long before a camera counts as missing.
        tell: Called for each that is missing, with why and what is assumed.

    Returns:
        The sources by name; the caller closes them, or hands them to a :class:`danet_runtime.Stream`.

    Raises:
        SourceError: None of them can be opened, or a file cannot be read.
        UsageError: One of the names makes no sense.
        MissingDependencyError: What one of them needs is not installed.
    """
    opened: dict[str, Source] = {}
    cameras: dict[str, LiveSource] = {}
    with ExitStack() as undo:
        for name, text in named.items():
            camera = live_source(text, pixels, damaged)
            source = camera or open_source(text, realtime=realtime, pixels=pixels, damaged=damaged)
            if camera is not None:
                cameras[name] = camera
            opened[name] = source
            undo.callback(source.close)
        missing = _open_side_by_side(cameras, wait_s)
        if missing and len(missing) == len(named):
            raise _none_of(missing)
        for name, error in missing.items():
            size = (sizes_hw or {}).get(name, size_hw)
            cameras[name].await_opening(size, str(error))
            tell(f"{name} is missing: {error}; it is awaited with frames of {size[0]}x{size[1]}")
        undo.pop_all()
    return opened


def _open_side_by_side(cameras: Mapping[str, LiveSource], wait_s: float) -> dict[str, SourceError]:
    """Open each in a thread of its own; those that could not be, and why."""
    failures: dict[str, BaseException] = {}
    until, end = time.monotonic() + wait_s, threading.Event()

    def open_one(name: str, camera: LiveSource) -> None:
        pause_s = _FIRST_PAUSE_S
        while not end.is_set():
            try:
                camera.reopen()
            except SourceError as error:
                failures[name] = error
                if time.monotonic() + pause_s > until:
                    return
                end.wait(pause_s)
                pause_s = min(2 * pause_s, _MOST_PAUSE_S)
            except BaseException as error:  # noqa: BLE001 - raised again in the caller
                failures[name] = error
                return
            else:
                failures.pop(name, None)
                return

    threads = [
        threading.Thread(target=open_one, args=entry, name=f"danet-open-{entry[0]}", daemon=True)
        for entry in cameras.items()
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():  # in steps: a signal must be able to end it
                thread.join(_NUDGE_S)
    except BaseException:
        end.set()
        while any(thread.is_alive() for thread in threads):
            for camera in cameras.values():
                camera.interrupt()
            time.sleep(_NUDGE_S)
        raise
    missing: dict[str, SourceError] = {}
    for name in cameras:
        failure = failures.get(name)
        if isinstance(failure, SourceError):
            missing[name] = failure
        elif failure is not None:
            raise failure
    return missing


def _none_of(missing: Mapping[str, SourceError]) -> DanetError:
    if len(missing) == 1:
        return next(iter(missing.values()))
    reasons = "; ".join(f"{name}: {error}" for name, error in missing.items())
    return SourceError(f"none of the sources can be opened: {reasons}")
