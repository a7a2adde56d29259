"""From an open container of FFmpeg's to the parent: decoded, judged, and where that is slow the newest."""

from __future__ import annotations

import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from danet_runtime.sources.network.arrival import Arrival
from danet_runtime.sources.network.live_decoding import JpegDecoder, LiveDecoder
from danet_runtime.sources.network.newest import Newest
from danet_runtime.sources.network.pipe_writer import PipeWriter, TimedFrame
from danet_runtime.sources.protocol.damage import DamageReason

_MOST_KEPT: Final = 64  # packets; decoders keep back at most 16
_WALL_CLOCK: Final = struct.Struct("=q")  # what AVProducerReferenceTime begins with, in microseconds


class VideoForwarding:
    """Decodes in its thread, and writes in another, so that a slow reader keeps nothing waiting.

    Args:
        av: PyAV.
        container: PyAV's open container.
        fd: The pipe to the parent.
        arrival_of: When a packet that has just been read arrived.
    """

    def __init__(self, av: Any, container: Any, fd: int, arrival_of: Callable[[Any], Arrival]) -> None:  # noqa: ANN401
        self._av = av
        self._container = container
        self._fd = fd
        self._arrival_of = arrival_of
        self._newest: Newest[TimedFrame] = Newest()
        self._arrivals: dict[int, Arrival] = {}

    def run(self) -> int:
        """Go on until the stream ends, or nobody reads any more; the exit code."""
        if not self._container.streams.video:
            print("ERROR: the stream has no video", file=sys.stderr)
            return 1
        stream = self._container.streams.video[0]
        writer = PipeWriter(self._fd, float(stream.average_rate or 0))
        writing = threading.Thread(target=_write, args=(writer, self._newest), name="danet-frame-writer")
        writing.start()
        is_jpeg = stream.codec_context.name == "mjpeg"
        decode = self._pictures(JpegDecoder(self._av)) if is_jpeg else LiveDecoder(self._av, stream).decode
        try:
            for packet in self._container.demux(stream):
                if not writing.is_alive():
                    break
                self._pass_on(packet, self._arrival_of(packet), *decode(packet))
        except (self._av.FFmpegError, OSError) as error:
            print(f"ERROR: {error}", file=sys.stderr)
            return 1
        finally:
            self._newest.close()
            writing.join()
        return 0

    def _pass_on(
        self,
        packet: Any,  # noqa: ANN401
        arrival: Arrival,
        frames: list[tuple[Any, DamageReason | None]],
        left_out: Counter[DamageReason],
    ) -> None:
        if packet.pts is not None:  # decoders put frames in another order, and keep some back
            self._arrivals[packet.pts] = arrival
            while len(self._arrivals) > _MOST_KEPT:
                del self._arrivals[next(iter(self._arrivals))]
        for reason, count in left_out.items():
            self._newest.count(reason, count)
        sender_ns = _sender_time(packet)
        for frame, damage in frames:
            time_ns = None if frame.pts is None else int(frame.pts * frame.time_base * 1_000_000_000)
            own = packet.pts is not None and frame.pts == packet.pts
            self._newest.put(
                TimedFrame(
                    frame,
                    time_ns if time_ns is None or time_ns >= 0 else None,
                    self._arrivals.get(frame.pts, arrival),
                    sender_ns if own else None,
                    damage,
                )
            )

    @staticmethod
    def _pictures(decoder: JpegDecoder) -> Callable[[Any], tuple[list[Any], Counter[DamageReason]]]:
        def decode(packet: Any) -> tuple[list[Any], Counter[DamageReason]]:  # noqa: ANN401
            if not packet.size:
                return [], Counter()
            frame, damage = decoder.decode(bytes(packet))
            if frame is None:
                return [], Counter({damage or "decoder": 1})
            frame.pts, frame.time_base = packet.pts, packet.time_base
            return [(frame, damage)], Counter()

        return decode


def _write(writer: PipeWriter, newest: Newest[TimedFrame]) -> None:
    """Write what is put there until it is closed, or nobody reads any more."""
    with suppress(EOFError, BrokenPipeError):
        while True:
            frame, damaged = newest.take()
            writer.left_out(damaged)
            if frame is not None:
                writer.write(frame)


def _sender_time(packet: Any) -> int | None:  # noqa: ANN401
    """When the packet was captured by its sender's wall clock, where a report of RTCP has said so."""
    if not getattr(packet, "has_sidedata", lambda _: False)("prft"):
        return None
    return int(_WALL_CLOCK.unpack(bytes(packet.get_sidedata("prft"))[: _WALL_CLOCK.size])[0]) * 1000
