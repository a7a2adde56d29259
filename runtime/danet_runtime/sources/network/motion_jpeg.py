"""Motion JPEG over HTTP: a thread reads whatever has come, and only the newest whole picture is decoded."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from typing import Any, Final

from danet_runtime.pictures.wholeness import has_end
from danet_runtime.sources.network.http_client import HttpBody
from danet_runtime.sources.network.live_decoding import JpegDecoder
from danet_runtime.sources.network.multipart import MultipartError, MultipartParser, Part
from danet_runtime.sources.network.newest import Newest
from danet_runtime.sources.network.pipe_writer import PipeWriter, TimedFrame
from danet_runtime.sources.network.sender_time import SenderTime
from danet_runtime.sources.protocol.damage import DamageReason

_PIECE_BYTES: Final = 1 << 16
_SINCE_1970_NS: Final = 1_000_000_000 * 1_000_000_000
"""A camera's time beyond this (in 2001) is a wall clock's; no camera runs for 31 years."""


class _Picture:
    """A part, with its camera's time and why it is not to be trusted, as far as its data's end tells."""

    def __init__(self, part: Part, time_ns: int | None) -> None:
        self.data = part.data
        self.arrival = part.arrival
        self.time_ns = time_ns
        self.damage: DamageReason | None = None if part.is_whole and has_end(part.data) else "cut off"


class MotionJpeg:
    """Reads a body to its end and writes its pictures.

    Args:
        av: PyAV.
        body: The body of the answer, ``multipart/x-mixed-replace``.
        fd: The pipe to the parent.
    """

    def __init__(self, av: Any, body: HttpBody, fd: int) -> None:  # noqa: ANN401
        self._decoder = JpegDecoder(av)
        self._body = body
        self._writer = PipeWriter(fd, None)
        self._newest: Newest[_Picture] = Newest()
        self._problem = "the camera has ended the stream"

    def run(self) -> int:
        """Go on until the body ends, or nobody reads any more; the exit code."""
        threading.Thread(target=self._read, name="danet-motion-jpeg", daemon=True).start()
        with suppress(BrokenPipeError):
            try:
                while True:
                    picture, damaged = self._newest.take()
                    self._writer.left_out(damaged)
                    if picture is not None:
                        self._decode(picture)
            except EOFError:
                print(f"ERROR: {self._problem}", file=sys.stderr)
                return 1
        return 0

    def _decode(self, picture: _Picture) -> None:
        frame, damage = self._decoder.decode(picture.data)
        damage = picture.damage or damage
        if frame is None:
            self._writer.left_out([(damage or "decoder", 1)])
        else:
            time_ns = picture.time_ns
            sender_ns = time_ns if time_ns is not None and time_ns > _SINCE_1970_NS else None
            self._writer.write(TimedFrame(frame, time_ns, picture.arrival, sender_ns, damage))

    def _read(self) -> None:
        parser, times = MultipartParser(), SenderTime()
        try:
            while data := self._body.read(_PIECE_BYTES):
                for part in parser.feed(data, self._body.arrival):
                    self._put(part, times)
            for part in parser.end():
                self._put(part, times)
        except (MultipartError, OSError) as error:
            self._problem = str(error)
        finally:
            self._newest.close()

    def _put(self, part: Part, times: SenderTime) -> None:
        if part.data.strip() and part.headers.get("content-type", "image/").startswith("image/"):
            self._newest.put(_Picture(part, times.read(part.headers, part.arrival.time_ns)))
