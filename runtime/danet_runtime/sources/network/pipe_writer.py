"""Writes the frames of an FFmpeg child process to its parent, as BGR, with the count of those left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from danet_runtime.sources.network.arrival import Arrival
from danet_runtime.sources.protocol import gdp
from danet_runtime.sources.protocol.damage import DamageReason


@dataclass(frozen=True)
class TimedFrame:
    """A frame of FFmpeg's, with its times and its damage.

    Attributes:
        frame: The frame, an ``av.VideoFrame``.
        time_ns: Time on the stream's clock, or ``None``.
        arrival: When it arrived.
        sender_unix_ns: Time on its sender's wall clock, or ``None``.
        damage: Why it is not to be trusted, or ``None``.
    """

    frame: Any
    time_ns: int | None
    arrival: Arrival
    sender_unix_ns: int | None = None
    damage: DamageReason | None = None


class PipeWriter:
    """Writes to a pipe as :mod:`danet_runtime.sources.protocol.gdp` lays it out; from one thread.

    Args:
        fd: The pipe.
        fps: Frames a second of the stream, where it is known.
    """

    def __init__(self, fd: int, fps: float | None) -> None:
        self._fd = fd
        self._fps = fps
        self._size_hw: tuple[int, int] | None = None

    def write(self, decoded: TimedFrame) -> None:
        """Write a frame, and before it its format where that is new; waits until it is read.

        Raises:
            BrokenPipeError: Nobody reads any more.
        """
        picture = np.ascontiguousarray(decoded.frame.to_ndarray(format="bgr24"))
        if picture.shape[:2] != self._size_hw:
            self._size_hw = (picture.shape[0], picture.shape[1])
            caps = gdp.write_caps(self._size_hw, self._fps)
            gdp.write(self._fd, gdp.write_header(gdp.CAPS, len(caps)) + caps)
        # Where the stream's own time tells delays, what it is held to must be no moment before the arrival:
        # the smallest delay would come out too small for ever after.
        arrival = decoded.arrival if decoded.time_ns is None or decoded.arrival.is_exact else None
        header = gdp.write_header(
            gdp.BUFFER,
            picture.nbytes,
            decoded.time_ns,
            arrival_ns=None if arrival is None else arrival.time_ns,
            sender_unix_ns=decoded.sender_unix_ns,
            damage=decoded.damage,
        )
        gdp.write(self._fd, header)
        gdp.write(self._fd, memoryview(picture.data).cast("B"))

    def left_out(self, damaged: Iterable[tuple[DamageReason, int]]) -> None:
        """Tell of damaged frames that are not written.

        Raises:
            BrokenPipeError: Nobody reads any more.
        """
        for reason, frames in damaged:
            gdp.write(self._fd, gdp.write_damage(reason, frames))
