"""A moving test pattern without end, for machines that have no camera."""

from __future__ import annotations

import time
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BeforeValidator, Field

from danet_runtime.clock import now_ns
from danet_runtime.errors import UsageError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.color import to_pixel_format
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.pictures.header import MOST_SIDE
from danet_runtime.sources.protocol.source import MOST_FPS, FrameInfo
from danet_runtime.sources.protocol.statement import SourceStatement, Wanted
from danet_runtime.sources.protocol.uri_options import UriOptions

_STEP = 4  # columns a frame; even, so that chroma moves with luma


def _height_and_width(text: object) -> object:
    """``720x1280`` as two numbers, which are checked behind this."""
    return text.split("x") if isinstance(text, str) else text


class SyntheticOptions(UriOptions):
    """The options behind ``synthetic:``.

    Attributes:
        size: Height and width.
        fps: Frames a second; 0: as fast as it is read, and then not live.
        frames: How many come; ``None``: without end.
    """

    size: Annotated[
        tuple[Annotated[int, Field(ge=1, le=MOST_SIDE)], Annotated[int, Field(ge=1, le=MOST_SIDE)]],
        BeforeValidator(_height_and_width),
    ] = Field((720, 1280), description="HxW")
    fps: float = Field(30.0, ge=0, le=MOST_FPS, allow_inf_nan=False, description=f"0..{MOST_FPS:g}")
    frames: int | None = Field(None, ge=0, description="COUNT")


class SyntheticSource:
    """Colored stripes that move to the left; see :class:`danet_runtime.sources.protocol.source.Source`.

    Args:
        uri: ``synthetic:`` with :class:`SyntheticOptions`.
        pixels: The format of its frames.

    Raises:
        UsageError: An option is unknown or has no such value, or the format has no such size.
        MissingDependencyError: The format is not BGR and OpenCV is not installed.
    """

    statement: ClassVar = SourceStatement(
        name="synthetic",
        form="synthetic:",
        help="a moving test pattern",
        options=SyntheticOptions,
        schemes=("synthetic",),
    )

    @classmethod
    def named(cls, text: str, wanted: Wanted) -> SyntheticSource:
        """The test pattern of a URI."""
        return cls(text, wanted.pixels)

    def __init__(self, uri: str = "synthetic:", pixels: Pixels = BGR) -> None:
        options = SyntheticOptions.of(uri)
        self.size_hw: tuple[int, int] = options.size
        rate = options.fps
        self.count: int | None = options.frames
        if fault := pixels.fault(self.size_hw):
            raise UsageError(f"{uri!r}: {fault}")
        self.pixels = pixels
        self.live = rate > 0
        self.fps: float | None = rate or None
        self._period_ns = int(1e9 / rate) if rate else 0
        self._next_ns = now_ns()
        self._read = 0
        columns = np.arange(2 * self.size_hw[1])
        rows = np.arange(self.size_hw[0])[:, None]
        pattern = np.empty((self.size_hw[0], len(columns), 3), np.uint8)  # (H, 2W, 3), one period is W
        for channel, stripes in enumerate((3, 5, 7)):
            wave = np.sin(2 * np.pi * stripes * columns / self.size_hw[1])
            pattern[..., channel] = 127 + 100 * wave * np.cos(rows / (20 + 10 * channel))
        self._pattern = to_pixel_format(pattern, pixels)

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        """Wait until the next frame is due, and write it in place."""
        if self._read == self.count:
            return None
        if self.live:
            now = now_ns()
            self._next_ns = max(self._next_ns + self._period_ns, now - self._period_ns)
            time.sleep(max(0, self._next_ns - now) / 1e9)
        offset = _STEP * self._read % self.size_hw[1]
        np.copyto(buffer, self._pattern[:, offset : offset + self.size_hw[1]])
        info = FrameInfo(self._read, now_ns())
        self._read += 1
        return info

    def describe(self) -> dict[str, Any]:
        """Size, rate and pixel format."""
        return {
            "kind": "synthetic",
            "size_hw": list(self.size_hw),
            "fps": self.fps,
            "live": self.live,
            "pixels": str(self.pixels),
        }

    def close(self) -> None:
        """Nothing is held."""
