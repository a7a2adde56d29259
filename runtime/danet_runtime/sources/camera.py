"""Frames of a camera that the operating system knows (V4L2 on Linux)."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from danet_runtime.clock import MonotonicTimes
from danet_runtime.dependencies import OPENCV, opencv
from danet_runtime.errors import SourceError, UsageError
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.processes.start import module_command
from danet_runtime.sources.live.source import START_S, LiveSource, is_bgr_for_another
from danet_runtime.sources.protocol.gdp import Packet
from danet_runtime.sources.protocol.source import CaptureClock
from danet_runtime.sources.protocol.statement import SourceStatement, Wanted
from danet_runtime.sources.protocol.uri import redacted

logger = logging.getLogger(__name__)

_DEVICES = Path("/dev")
_DEVICE: Final = re.compile(r"/dev/video([0-9]{1,4})")
_OLDEST_NS = 2_000_000_000  # a first timestamp further back is of another clock


def canonical_camera(text: str) -> str | None:
    """``camera:N`` for that, a number, ``/dev/videoN``, or what in ``/dev`` leads there; else ``None``.

    What stands in the file system under the whole text, but in ``/dev``, is a file.

    Raises:
        UsageError: It begins with ``camera:``, and goes on with something else than a number.
    """
    if text.startswith("/dev/"):  # also of a link, as those of /dev/v4l
        match = _DEVICE.fullmatch(os.path.realpath(text))
        return f"camera:{int(match[1])}" if match is not None else None
    scheme, colon, rest = text.partition(":")
    is_camera = colon and scheme == "camera"
    if os.path.lexists(text) or not (is_camera or text.isdecimal()):
        return None
    index = rest.lstrip("/") if is_camera else text
    if not index.isdecimal():
        raise UsageError(f"{redacted(text)!r}: expected camera:N with the number of the device")
    return f"camera:{int(index)}"


class CameraSource(LiveSource):
    """A live camera, in a child process; see :class:`danet_runtime.sources.protocol.source.Source`.

    Its capture time is the driver's timestamp of the frame where that is on this machine's monotonic clock
    (V4L2), else the arrival in this process. A frame that does not come is an error: no frame is made up or
    repeated.

    Args:
        index: Number of the device, ``/dev/videoN`` on Linux.
        pixels: The format that is wanted; a camera that has it (``NV12``; ``UYVY`` or ``YUYV``) delivers it
            without a conversion, any other BGR. :attr:`pixels` is what comes.
        start_s: The first frame must have come by then.
        is_open: Whether to open it now; :meth:`reopen` does it later.

    Raises:
        SourceError: There is no such camera, it is busy, or it gives no frame.
        MissingDependencyError: OpenCV is not installed.
    """

    statement: ClassVar = SourceStatement(
        name="camera",
        form="camera:0 or /dev/video0",
        needs=((OPENCV,),),
        schemes=("camera",),
        canonical=canonical_camera,
        is_awaited=True,
        is_exclusive=True,
    )

    @classmethod
    def named(cls, text: str, wanted: Wanted) -> CameraSource:
        """The camera of a canonical text, not opened yet."""
        return cls(int(text.partition(":")[2]), wanted.pixels, is_open=False)

    def __init__(
        self, index: int, pixels: Pixels = BGR, start_s: float = START_S, *, is_open: bool = True
    ) -> None:
        super().__init__(f"camera {index}", str, pixels, start_s)
        self._index = index
        if is_open:
            self.reopen()

    def reopen(self) -> None:
        """Open the device, again where it was open.

        See :class:`danet_runtime.sources.protocol.source.Source`.
        """
        opencv(f"reading {self.name}")
        try:
            super().reopen()
        except SourceError as error:
            devices = sorted(device.name for device in _DEVICES.glob("video*"))
            there = ", ".join(devices) if devices else "none"
            raise SourceError(
                f"{self.name} gives no frames; video devices on this machine: {there}; "
                "check the index, the cable, that no other program holds it, "
                "and that this user may read it (group video)"
            ) from error
        if is_bgr_for_another(self, self._wanted):
            logger.warning("%s has no %s: its frames come as BGR", self.name, self._wanted)

    def describe(self) -> dict[str, Any]:
        """Index, size, rate and pixel format."""
        return {"kind": "camera", "index": self._index, **super().describe(), "decoder": "opencv"}

    def _command(self) -> tuple[Sequence[str], Sequence[str]]:
        wanted = self._wanted
        return (
            module_command("danet_runtime.sources.live.camera_child", "{fd}"),
            (str(self._index), wanted.format, wanted.color, wanted.range),
        )

    def _begin(self) -> None:
        self._times = MonotonicTimes()
        self._is_ours = False

    def _capture_time(self, packet: Packet, now_ns: int) -> tuple[int, CaptureClock]:
        if packet.time_ns is None:
            return now_ns, "arrival"
        age_ns = now_ns - (captured_ns := self._times.now_ns(packet.time_ns))
        # Once it was shown that the stamps are of this machine's clock, an old one is of an old frame that
        # waited with the driver while the process stood still or the machine was suspended.
        self._is_ours = age_ns >= 0 and (self._is_ours or age_ns < _OLDEST_NS)
        return (captured_ns, "sensor") if self._is_ours else (now_ns, "arrival")
