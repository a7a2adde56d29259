"""Raw frames from a child process: what hangs there can be ended, what crashes there takes nothing along."""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from danet_runtime.clock import now_ns
from danet_runtime.errors import SourceError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.pictures.header import MOST_SIDE
from danet_runtime.processes.process import NOTHING_LEFT, ChildProcess
from danet_runtime.processes.running import Patience
from danet_runtime.sources.protocol import gdp
from danet_runtime.sources.protocol.damage import DamageCount

_PIPE_BYTES = 1 << 20
_SET_PIPE_SIZE = 1031  # Linux; fcntl.F_SETPIPE_SZ has its name from Python 3.10 on
_LARGEST_FRAME = 3 * MOST_SIDE**2
_KEY_FRAME_S = 30.0
"""Longest wait for the first frame while others are left out, as between two key frames; in seconds."""


class FrameChild:
    """A child process that writes frames as the GStreamer Data Protocol to a pipe of its own.

    Args:
        command: Command to start; ``{fd}`` in it becomes the number of the pipe to write to.
        name: Name of the source in error messages.
        redact: Takes credentials out of what the child says.
        words: Words for its standard input, which nobody else sees; ``{fd}`` is replaced in them, too.
        damage: Counter of the frames that the child reports as left out.

    Raises:
        SourceError: It cannot be started.

    Attributes:
        format: Format of the child's frames, once :meth:`await_format` has returned.
    """

    format: gdp.RawFormat

    def __init__(
        self,
        command: Sequence[str],
        name: str,
        redact: Callable[[str], str],
        words: Sequence[str] = (),
        damage: DamageCount | None = None,
    ) -> None:
        self._name = name
        self._damage = damage or DamageCount()
        self._header = bytearray(gdp.HEADER_BYTES)
        self._rows: UInt8Array | None = None
        try:
            self._fd, theirs = os.pipe()
        except OSError as error:
            raise SourceError(f"there is no pipe to be had for {name}: {error.strerror}") from error
        try:
            with suppress(OSError):  # a user may be at the limit; the default size only costs more switches
                fcntl.fcntl(self._fd, _SET_PIPE_SIZE, _PIPE_BYTES)
            self._process = ChildProcess(command, words, theirs, redact, "danet-source-log")
        except BaseException as error:
            os.close(self._fd)
            if not isinstance(error, NOTHING_LEFT):
                raise
            why = getattr(error, "strerror", None) or str(error) or "no memory is left"
            raise SourceError(f"{command[0]} cannot be started for {name}: {why}") from error
        finally:
            os.close(theirs)

    def await_format(self, start_s: float) -> None:
        """Wait until it has told its format; :meth:`kill` ends the waiting.

        Args:
            start_s: Time in seconds within which it must have told. While it reports damaged frames as left
                out, the next key frame is awaited beyond that, up to half a minute.

        Raises:
            SourceError: It ends, says nothing in time, or nothing that is a format.
        """
        self.format = self._await_format(start_s)

    def read_into(self, buffer: UInt8Array) -> gdp.Packet:
        """Write the next frame in place; waits for it.

        Args:
            buffer: uint8 in the format's layout and size, C-contiguous; overwritten.

        Returns:
            Its header, with its times and why it is not to be trusted, where it is not.

        Raises:
            SourceError: The child has ended, or changed its format.
        """
        while True:
            packet = self._packet()
            if packet.kind == gdp.CAPS:
                changed = gdp.read_caps(self._text(packet.length))
                was = self.format
                if (changed.size_hw, changed.pixel_format) != (was.size_hw, was.pixel_format):
                    raise SourceError(
                        f"{self._name} changed from {was.pixel_format} {was.size_hw} to "
                        f"{changed.pixel_format} {changed.size_hw} (height, width) on the way"
                    )
            elif packet.kind == gdp.DAMAGE:
                self._damage.add(*gdp.read_damage(self._text(packet.length)))
            elif packet.kind != gdp.BUFFER:
                self._text(packet.length)
            else:
                self._frame(packet.length, buffer)
                return packet

    def has_more(self) -> bool:
        """Whether more has come already."""
        return bool(select.select([self._fd], [], [], 0)[0])

    def kill(self) -> None:
        """End the child and what it has started; a read that waits for it fails. From any thread."""
        self._process.kill()

    def close(self) -> None:
        """End the child and release the pipe; only from the reading thread. Harmless when called twice."""
        self._process.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _await_format(self, start_s: float) -> gdp.RawFormat:
        patience, most = Patience(start_s), Patience(max(start_s, _KEY_FRAME_S))
        left_out, started_ns = 0, now_ns()
        while True:
            while not select.select([self._fd], [], [], step_s := min(patience.step_s(), most.step_s()))[0]:
                if step_s:
                    continue
                if left_out:
                    raise SourceError(
                        f"{self._name} gave no whole frame within {(now_ns() - started_ns) / 1e9:.0f} s, "
                        f"{left_out} were left out: it sends no key frame, or none arrives whole; let it "
                        "send key frames more often"
                    )
                raise SourceError(
                    f"{self._name} gave no frame within {start_s:g} s{self._process.error_messages()}"
                )
            packet = self._packet()
            if packet.kind == gdp.BUFFER:
                raise SourceError(f"{self._name} sends frames without their format")
            text = self._text(packet.length)
            if packet.kind == gdp.CAPS:
                return gdp.read_caps(text)
            if packet.kind == gdp.DAMAGE:
                reason, frames = gdp.read_damage(text)
                self._damage.add(reason, frames)
                left_out += frames
                patience = Patience(start_s)

    def _packet(self) -> gdp.Packet:
        self._fill(memoryview(self._header))
        return gdp.read_header(self._header)

    def _frame(self, length: int, buffer: UInt8Array) -> None:
        # All rows of a layout have one length: those of U and V in nv12 are as long as those of Y.
        rows = buffer.shape[0]
        used = buffer.nbytes // rows
        padded = gdp.padded_row(used)
        if length == buffer.nbytes:
            self._fill(buffer.data.cast("B"))
        elif length == rows * padded:
            if self._rows is None:
                self._rows = np.empty((rows, padded), np.uint8)
            self._fill(self._rows.data.cast("B"))
            np.copyto(buffer.reshape(rows, used), self._rows[:, :used])
        else:
            # Elements that ignore that nobody here reads the rows' distances; a guess could shift the planes.
            form = self.format
            copied = {"bgr": "BGRx", "nv12": "I420", "uyvy": "YUY2"}[form.pixel_format]
            height, width = form.size_hw
            raise SourceError(
                f"{self._name} sent a frame of {length} bytes; expected {buffer.nbytes} for "
                f"{form.pixel_format} of {height}x{width}, or {rows * padded} with rows of {padded}. Its "
                "buffers are laid out in a way of their own: let "
                f"'! videoconvert ! video/x-raw,format={copied}' at the end of the pipeline copy them"
            )

    def _text(self, length: int) -> bytes:
        if length > _LARGEST_FRAME:
            raise SourceError(f"{self._name} announces {length} bytes at once; that is no frame")
        data = bytearray(length)
        self._fill(memoryview(data))
        return bytes(data)

    def _fill(self, view: memoryview) -> None:
        done = 0
        while done < len(view):
            count = os.readv(self._fd, [view[done:]])
            if count == 0:
                self._process.wait()
                raise SourceError(f"{self._name} has ended{self._process.error_messages()}")
            done += count
