"""A flight recording as a stream writes it, with words of the test's own in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sink_parts import result
from stream_parts import until

from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle
from danet_runtime.recorder.recorder import FlightRecorder
from danet_runtime.results.health import HealthEvent
from danet_runtime.sinks import StreamFormat


def record(bundle: Bundle, folder: Path, frames: int = 2, *, word: str = "front") -> Path:
    """Write a flight recording of a camera, with a reason and an event of the given words."""
    with Segmenter(bundle) as segmenter:
        box = FlightRecorder()
        box.open(StreamFormat((48, 64), 25.0, segmenter.classes, segmenter.palette))
    box.note(HealthEvent(1, 2, "degraded", "ready", (word,)))
    for number in range(frames):
        frame = np.full((48, 64, 3), number, np.uint8)
        box.write(result(frame, number, label=0, capture_time_ns=number * 10**7, source=word, health="ready"))
        handled(box)
    written = box.save(folder, word)
    box.close()
    return written


def fill(
    box: FlightRecorder, frames: int, hw: tuple[int, int] = (48, 64), step_ns: int = 10**7, **more: Any
) -> None:
    """Give frames one by one, each only when the one before is encoded."""
    for number in range(frames):
        frame = np.full((*hw, 3), number % 251, np.uint8)
        box.write(result(frame, number, label=number % 251, capture_time_ns=number * step_ns, **more))
        handled(box)


def handled(box: FlightRecorder) -> None:
    """Wait until every frame that it was given is encoded."""
    until(lambda: box._handled == box._seen)
