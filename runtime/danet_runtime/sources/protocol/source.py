"""The protocol of every source of frames: frames written in place, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, runtime_checkable

from danet_runtime.errors import SourceError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.device_arrays import DeviceArray
from danet_runtime.pictures.header import MOST_PIXELS, MOST_SIDE
from danet_runtime.sources.protocol.damage import DamageReason

MOST_FPS: Final = 1000.0
"""No camera gives more; what tells no rate announces 0, 1000 or the ticks of its clock, as 90000."""

CaptureClock = Literal["sensor", "stream", "arrival"]
"""Where a capture time comes from: the camera's own clock, the stream's timestamps, or the arrival here."""


@dataclass(frozen=True)
class FrameInfo:
    """The facts about one frame besides its pixels.

    Attributes:
        id: Number within the source, from 0; it only grows.
        capture_time_ns: When it was captured, on the clock of :mod:`danet_runtime.clock`.
        media_time_ms: Position in the file, where the source has one.
        name: Name of the picture, where the source has one.
        clock: Clock that the capture time was read from.
        damage: Why its pixels are not to be trusted, where they are not and it was asked for all the same.
        on_device: The same frame on the GPU, where it was there already: a backend on the GPU reads it there.
            Complete, and unchanged as long as this is held.
    """

    id: int
    capture_time_ns: int
    media_time_ms: float | None = None
    name: str | None = None
    clock: CaptureClock = "arrival"
    damage: DamageReason | None = None
    on_device: DeviceArray | None = field(default=None, repr=False, compare=False)


@runtime_checkable
class Source(Protocol):
    """A sequence of frames of one size; opened by its constructor, read from one thread.

    What a source may have besides, such as a way to be opened again, stands in
    :mod:`danet_runtime.sources.protocol.abilities`. One that does not state its ``pixels``
    (:class:`danet_runtime.frames.pixel_formats.Pixels`) writes BGR.

    Attributes:
        size_hw: Height and width of every frame.
        fps: Frames a second, or ``None`` where there is no rate (pictures) or none is told.
        count: How many frames will come, or ``None`` where nobody knows; for some containers an estimate.
        live: Whether frames come at their own pace, whatever the reader does.
    """

    size_hw: tuple[int, int]
    fps: float | None
    count: int | None
    live: bool

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        """Write the next frame in place.

        Args:
            buffer: uint8 in the layout of ``pixels``, (H, W, 3) for BGR, C-contiguous, owned by the caller;
                its content counts only when a ``FrameInfo`` comes back.

        Returns:
            The frame's data, or ``None`` after the last frame.

        Raises:
            SourceError: The frame cannot be read.
            SourceTruncatedError: The source broke off; the frames before are good.
        """

    def describe(self) -> dict[str, Any]:
        """Return what is read and how, for reports."""

    def close(self) -> None:
        """Release the device or file; harmless when called twice."""


def plausible_fps(rate: float) -> float | None:
    """A rate that a container, stream or driver tells, where it can be one; else ``None``."""
    return rate if 0 < rate < MOST_FPS else None


def check_size(origin: object, height: float, width: float) -> None:
    """Refuse what no camera has, before memory is taken for it.

    Raises:
        SourceError: A side or the area is beyond the limits.
    """
    if max(height, width) > MOST_SIDE or height * width > MOST_PIXELS:
        raise SourceError(
            f"{origin} states frames of {height:.0f}x{width:.0f} (height x width); at most {MOST_SIDE} a "
            f"side and {MOST_PIXELS} pixels are read: the file may be damaged"
        )
