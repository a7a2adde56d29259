"""Frames that your program has already, as a camera of a stream: a source is five members.

python examples/own_camera.py BUNDLE [FRAMES]
"""

import sys

import numpy as np

from danet_runtime import Segmenter, Stream
from danet_runtime.clock import now_ns
from danet_runtime.sources.protocol.source import FrameInfo


class MyCamera:
    """Noise in place of what your driver delivers; see `danet_runtime.sources.protocol.source.Source`."""

    def __init__(self, frames: int) -> None:
        self.size_hw, self.fps, self.count, self.live = (360, 640), 25.0, frames, False
        self.random, self.read = np.random.default_rng(0), 0

    def read_into(self, buffer: np.ndarray) -> FrameInfo | None:
        if self.read == self.count:
            return None
        buffer[...] = self.random.integers(0, 255, buffer.shape, np.uint8)  # (H, W, 3) BGR, in place
        self.read += 1
        return FrameInfo(self.read - 1, now_ns())

    def describe(self) -> dict[str, object]:
        return {"kind": "my camera"}

    def close(self) -> None: ...


if __name__ == "__main__":
    with Segmenter(sys.argv[1]) as segmenter, Stream(segmenter, MyCamera(int(sys.argv[2]))) as stream:
        for result in stream:
            print(result.frame_id, f"{result.age_ms:.1f} ms", next(iter(result.areas())))
