"""A source that a child process reads: opened, interrupted and opened again without anybody hanging in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from danet_runtime.clock import now_ns
from danet_runtime.errors import SourceError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.sources.live.child import FrameChild
from danet_runtime.sources.protocol.damage import DamageCount, DamagePolicy
from danet_runtime.sources.protocol.gdp import Packet
from danet_runtime.sources.protocol.source import CaptureClock, FrameInfo

START_S = 10.0
"""The first frame must have come by then."""

_BACKLOG_S = 2.0
"""Where nothing was read for longer after the opening, the frames that wait are left out."""


class LiveSource:
    """A source in a child process; see :class:`danet_runtime.sources.protocol.source.Source`.

    Subclasses say which.

    Not opened yet: :meth:`reopen` opens it, from the thread that reads, and :meth:`interrupt` ends that from
    any other.

    Args:
        name: Name of the source in errors, without credentials.
        redact: Takes credentials out of what the child says.
        pixels: The format that is wanted; :attr:`pixels` is what comes.
        start_s: Time in seconds within which the first frame must have come.
        damaged: How frames are treated that are known or likely to be corrupt.

    Attributes:
        awaited: Why it is not open yet, where a stream is to open it; else ``None``.
        damage: Counter of such frames, over all openings.
    """

    live = True
    count: int | None = None
    size_hw: tuple[int, int]
    fps: float | None = None

    def __init__(
        self,
        name: str,
        redact: Callable[[str], str],
        pixels: Pixels,
        start_s: float,
        damaged: DamagePolicy = "drop",
    ) -> None:
        self.name = name
        self.damage = DamageCount()
        self._damaged: DamagePolicy = damaged
        self.pixels = pixels
        self._redact = redact
        self._wanted = pixels
        self._start_s = start_s
        self._child: FrameChild | None = None
        self._read = 0
        self._opened_ns = 0
        self.awaited: str | None = None

    def reopen(self) -> None:
        """Start the child, again where there was one.

        Raises:
            SourceError: It gives no frames, or frames of a size that the format does not have.
            UsageError: The source's name makes no sense.
            MissingDependencyError: A program or library that it needs is not installed.
        """
        self.close()
        command, words = self._command()
        # Known before it has told its format, so that it can be interrupted while it says nothing.
        child = self._child = FrameChild(command, self.name, self._redact, words, self.damage)
        try:
            child.await_format(self._start_s)
            pixels = child.format.pixels(self._wanted)
            if fault := pixels.fault(child.format.size_hw):
                raise SourceError(f"{self.name}: {fault}; open it without a pixel format")
        except BaseException:
            self.close()
            raise
        self._read = 0
        self._opened_ns = now_ns()
        self.awaited = None
        self.size_hw = child.format.size_hw
        self.fps = child.format.fps
        self.pixels = pixels
        self._begin()

    def await_opening(self, size_hw: tuple[int, int], why: str) -> None:
        """Stand in for a camera that cannot be opened yet: reads fail, until :meth:`reopen` does not.

        Args:
            size_hw: Expected height and width of its frames; those of another size are adopted.
            why: Message of the error that every read raises until then.
        """
        self.size_hw = size_hw
        self.awaited = why

    def interrupt(self) -> None:
        """End the child, so that a read or an opening that waits for it fails; from any thread."""
        child = self._child
        if child is not None:
            child.kill()

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        """Wait for the next frame and write it in place; damaged ones are counted, and passed over or marked.

        Raises:
            SourceError: The child has ended, the size changed, or the source is not open.
        """
        if self._child is None:
            raise SourceError(self.awaited or f"{self.name} is closed; open it again")
        while True:
            packet = self._child.read_into(buffer)
            if self._read == 0:
                packet = self._without_backlog(self._child, buffer, packet)
            capture_ns, clock = self._capture_time(packet, now_ns())
            if packet.damage is not None:
                self.damage.add(packet.damage)
                if self._damaged != "mark":
                    continue
            info = FrameInfo(self._read, capture_ns, clock=clock, damage=packet.damage)
            self._read += 1
            return info

    def _without_backlog(self, child: FrameChild, buffer: UInt8Array, packet: Packet) -> Packet:
        """Leave out what has piled up since the opening: nobody can say how old it is."""
        if now_ns() - self._opened_ns > _BACKLOG_S * 1e9:
            now = time.monotonic()
            while child.has_more() and time.monotonic() - now < _BACKLOG_S:
                packet = child.read_into(buffer)
        return packet

    def close(self) -> None:
        """End the child; harmless when called twice."""
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def describe(self) -> dict[str, Any]:
        """Size, rate and pixel format."""
        return {
            "size_hw": list(self.size_hw),
            "fps": self.fps,
            "live": self.live,
            "pixels": str(self.pixels),
        }

    def _command(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the command to start, and the words for its standard input."""
        raise NotImplementedError

    def _begin(self) -> None:
        """Forget what was known of its clock, since it was opened anew."""

    def _capture_time(self, packet: Packet, now_ns: int) -> tuple[int, CaptureClock]:
        """Return when a frame was captured that came with this header at this moment."""
        raise NotImplementedError


def is_bgr_for_another(source: LiveSource, wanted: Pixels) -> bool:
    """Whether a source gives BGR that was asked for something else."""
    return source.pixels == BGR and wanted.format != "bgr"
