"""A GStreamer child process that encodes raw frames: it may hang or die, and nobody waits for it."""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import Callable, Sequence
from contextlib import suppress

from danet_runtime.errors import SinkError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.processes.process import NOTHING_LEFT, ChildProcess
from danet_runtime.processes.running import Patience

_PIPE_BYTES = 1 << 20
_SET_PIPE_SIZE = 1031  # Linux; fcntl.F_SETPIPE_SZ has its name from Python 3.10 on
_FINISH_S = 3.0


class PushChild:
    """A child process that reads raw frames from a pipe of its own.

    Args:
        command: Command to start; ``{fd}`` in it becomes the number of the pipe to read from.
        name: Name of the child in error messages.
        redact: Takes credentials out of what the child says.
        words: Words for its standard input, which nobody else sees; ``{fd}`` is replaced in them, too.

    Raises:
        SinkError: It cannot be started.
    """

    def __init__(
        self, command: Sequence[str], name: str, redact: Callable[[str], str], words: Sequence[str] = ()
    ) -> None:
        self._name = name
        try:
            theirs, self._fd = os.pipe()
        except OSError as error:
            raise SinkError(f"there is no pipe to be had for {name}: {error.strerror}") from error
        try:
            with suppress(OSError):  # a user may be at the limit; the default size only costs more switches
                fcntl.fcntl(self._fd, _SET_PIPE_SIZE, _PIPE_BYTES)
            os.set_blocking(self._fd, False)
            self._process = ChildProcess(command, words, theirs, redact, "danet-sink-log")
        except BaseException as error:
            os.close(self._fd)
            if not isinstance(error, NOTHING_LEFT):
                raise
            why = getattr(error, "strerror", None) or str(error) or "no memory is left"
            raise SinkError(f"{command[0]} cannot be started for {name}: {why}") from error
        finally:
            os.close(theirs)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def sent(self) -> int:
        """Frames that have gone through all of its pipeline; final once it is closed."""
        return self._process.count

    def write(self, frame: UInt8Array, within_s: float) -> None:
        """Hand over one frame.

        Args:
            frame: The frame, C-contiguous; only read.
            within_s: The child must have taken all of it by then.

        Raises:
            SinkError: The child has ended, or does not take it in time; it is of no more use.
        """
        view = frame.data.cast("B")
        patience = Patience(within_s)
        while len(view):
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                while not select.select([], [self._fd], [], step_s := patience.step_s())[1]:
                    if not step_s:
                        raise SinkError(f"{self._name} has not taken a frame for {within_s:g} s") from None
            except OSError as error:
                self._process.poll()
                raise SinkError(f"{self._name} has ended{self._process.error_messages()}") from error

    def close(self, *, finish: bool) -> None:
        """End the child; harmless when called twice.

        Args:
            finish: Whether to let it send what it has, for a few seconds.
        """
        if self._fd >= 0:
            os.close(self._fd)  # the end of the stream for the child
            self._fd = -1
        if finish:
            self._process.wait(_FINISH_S)
        self._process.close()
