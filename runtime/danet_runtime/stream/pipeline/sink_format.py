"""Format of the frames that a sink was opened for, and how the sink follows when that format changes."""

from __future__ import annotations

from dataclasses import replace

from danet_runtime.errors import SinkFormatError
from danet_runtime.results.health import Health
from danet_runtime.results.slot import FrameSlot
from danet_runtime.sinks.protocol.abilities import AdaptableSink
from danet_runtime.sinks.protocol.sink import Sink, StreamFormat


class SinkFormat:
    """Frame format of one sink; used from the thread that opens it, then from the one that writes to it.

    A sink with a method ``adopt`` is told of another size or format and goes on with it, where it can. One
    that cannot keeps what it has: it gets nothing until the camera has its format again, and the health says
    so. A sink without the method is opened with the first frame where the format was only assumed before.

    Args:
        sink: The sink.
        key: Name of the sink in the health.
        health: Health of the stream.

    Attributes:
        is_open: Whether the sink was opened, so that it must be closed.
    """

    def __init__(self, sink: Sink, key: str, health: Health) -> None:
        self._sink = sink
        self._key = key
        self._health = health
        self._format: StreamFormat | None = None
        self._refused: tuple[object, ...] | None = None  # the size and pixels that it could not adopt
        self.is_open = False

    def open(self, stream_format: StreamFormat, *, is_assumed: bool) -> None:
        """Open the sink now, or with the first frame.

        Args:
            stream_format: Format of the frames to come.
            is_assumed: Whether that format is only assumed, since no frame has arrived yet.

        Raises:
            SinkError: It cannot be written.
        """
        self._format = stream_format
        if not is_assumed or isinstance(self._sink, AdaptableSink):
            self._sink.open(stream_format)
            self.is_open = True

    def fits(self, slot: FrameSlot) -> bool:
        """Return whether the sink takes this frame; a change of format is passed on to the sink first.

        Raises:
            SinkError: It took the change and failed then, or it cannot be opened.
        """
        known = self._format
        if known is None:
            return False
        if self.is_open and slot.size_hw == known.size_hw and slot.pixels == known.pixels:
            if self._refused is not None:
                self._refused = None
                self._health.clear(f"{self._key}.size")
            return True
        came = (slot.size_hw, slot.pixels)
        if came == self._refused:
            return False
        wanted = replace(known, size_hw=slot.size_hw, pixels=slot.pixels, fps=slot.fps)
        if not self.is_open:
            self._sink.open(wanted)
            self.is_open = True
        else:
            try:
                self._adopt(known, wanted)
            except SinkFormatError as error:
                self._refused = came
                self._health.set(f"{self._key}.size", "degraded", f"{self._key} gets nothing: {error}")
                return False
        self._format, self._refused = wanted, None
        self._health.clear(f"{self._key}.size")
        return True

    def _adopt(self, known: StreamFormat, wanted: StreamFormat) -> None:
        if not isinstance(self._sink, AdaptableSink):
            raise SinkFormatError(f"it was opened for {known.shown}, and frames of {wanted.shown} came")
        self._sink.adopt(wanted)
