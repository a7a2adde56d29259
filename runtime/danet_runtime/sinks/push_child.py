"""A GStreamer child process that encodes raw frames: it may hang or die, and nobody waits for it."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from danet_runtime.backends.base import UInt8Array
from danet_runtime.errors import SinkError

_PIPE_BYTES = 1 << 20
_SET_PIPE_SIZE = 1031  # Linux; fcntl.F_SETPIPE_SZ has its name from Python 3.10 on
_KEPT_LINES = 20
_FINISH_S = 3.0


class PushChild:
    """A child process that reads raw frames from a pipe of its own.

    Args:
        command: What to start; ``{fd}`` in it becomes the number of the pipe to read from.
        name: What to call it in errors.
        redact: Takes credentials out of what the child says.

    Raises:
        SinkError: It cannot be started.
    """

    def __init__(self, command: Sequence[str], name: str, redact: Callable[[str], str]) -> None:
        self._name = name
        self._redact = redact
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        theirs, self._fd = os.pipe()
        with suppress(OSError):  # a user may be at the limit; the default size only costs more switches
            fcntl.fcntl(self._fd, _SET_PIPE_SIZE, _PIPE_BYTES)
        os.set_blocking(self._fd, False)
        try:
            self._process = subprocess.Popen(
                [part.replace("{fd}", str(theirs)) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(theirs,),
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._fd)
            raise SinkError(f"{command[0]} cannot be started for {name}: {error.strerror}") from error
        finally:
            os.close(theirs)
        self._listener = threading.Thread(target=self._listen, name="danet-sink-log", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def write(self, frame: UInt8Array, within_s: float) -> None:
        """Hand over one frame.

        Args:
            frame: C-contiguous; only read.
            within_s: The child must have taken all of it by then.

        Raises:
            SinkError: The child has ended, or does not take it in time; it is of no more use.
        """
        view = frame.data.cast("B")
        until = time.monotonic() + within_s
        while len(view):
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                left = until - time.monotonic()
                if left <= 0 or not select.select([], [self._fd], [], left)[1]:
                    raise SinkError(f"{self._name} has not taken a frame for {within_s:g} s") from None
            except OSError as error:
                self._process.poll()
                self._listener.join(1.0)
                raise SinkError(f"{self._name} has ended{self._said()}") from error

    def close(self, *, finish: bool) -> None:
        """End the child; harmless when called twice.

        Args:
            finish: Whether to let it send what it has, for a few seconds.
        """
        if self._fd >= 0:
            os.close(self._fd)  # the end of the stream for the child
            self._fd = -1
        if finish:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_FINISH_S)
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._listener.join(1.0)
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _listen(self) -> None:
        stream = self._process.stderr
        if stream is not None:
            with suppress(ValueError):  # closed under the reader
                for line in stream:
                    self._lines.append(self._redact(line.decode("utf-8", "replace").strip()))

    def _said(self) -> str:
        told = [line for line in list(self._lines) if line]
        errors = [line for line in told if "ERROR" in line or "error" in line] or told
        return f": {'; '.join(errors[-2:])}" if errors else ""
