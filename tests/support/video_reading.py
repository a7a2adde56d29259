"""Reading a source to its end as a careful caller does, and the numbers drawn into its frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from video_files import number_in

from danet_runtime.errors import SourceError
from danet_runtime.sources import FrameInfo


def read_all(source: Any) -> tuple[list[np.ndarray], list[FrameInfo], SourceError | None]:
    """Frames, what is said of them, and the error at the end, if any; every buffer is poisoned before."""
    frames: list[np.ndarray] = []
    infos: list[FrameInfo] = []
    error: SourceError | None = None
    try:
        while True:
            buffer = np.full((*source.size_hw, 3), len(frames) % 256, np.uint8)
            info = source.read_into(buffer)
            if info is None:
                break
            frames.append(buffer)
            infos.append(info)
    except SourceError as caught:
        error = caught
    source.close()
    return frames, infos, error


def numbers(frames: list[np.ndarray]) -> list[int | None]:
    return [number_in(frame) for frame in frames]
