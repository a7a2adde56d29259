"""A child process that ends with this one, and whose words are kept for the error that it ends in."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from danet_runtime.processes.lifeline import message

_KEPT_LINES = 20
_COUNT = b"COUNT "

NOTHING_LEFT: Final = (OSError, RuntimeError, MemoryError)
"""Exceptions of starting a child when processes, threads, file descriptors or memory have run out."""


class ChildProcess:
    """A child in a session of its own, with one pipe to or from it beside its standard input.

    Args:
        command: Command to start; ``{fd}`` in it becomes ``fd``.
        words: Words for its standard input, which nobody else sees; ``{fd}`` in them becomes ``fd``, too.
        fd: The child's end of a pipe; handed over, the caller closes its own copy.
        redact: Takes credentials out of what the child says.
        name: Name of the thread that reads the child's standard error.

    Raises:
        OSError: It cannot be started; so are the others of :data:`NOTHING_LEFT`, and nothing stays behind.

    Attributes:
        count: Number in the child's newest line ``COUNT N`` on its standard error; 0 before the first.
    """

    def __init__(
        self, command: Sequence[str], words: Sequence[str], fd: int, redact: Callable[[str], str], name: str
    ) -> None:
        self._redact = redact
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.count = 0
        self._process = subprocess.Popen(
            [part.replace("{fd}", str(fd)) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(fd,),
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, name=name, daemon=True)
        try:
            self._listener.start()
            if self._process.stdin is not None:  # stays open: it is the child's sign that this process lives
                with suppress(BrokenPipeError):  # it has ended: using it says so
                    self._process.stdin.write(message(tuple(word.replace("{fd}", str(fd)) for word in words)))
                    self._process.stdin.flush()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def error_messages(self) -> str:
        """Return the child's error messages as the end of a sentence; call it when the child has ended."""
        self._listener.join(1.0)
        lines = [line for line in list(self._lines) if line]
        errors = [line for line in lines if "ERROR" in line or "error" in line] or lines
        return f": {'; '.join(errors[-2:])}" if errors else ""

    def poll(self) -> int | None:
        """Its exit code, or ``None`` while it runs."""
        return self._process.poll()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for its end; whether it has ended by then."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.poll() is not None

    def kill(self) -> None:
        """End it and what it has started; from any thread."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End it and release its pipes; harmless when called twice."""
        self.kill()
        self._process.wait()
        if self._listener.ident is not None:  # it was started
            self._listener.join(1.0)
        for stream in (self._process.stdin, self._process.stderr):
            if stream is not None:
                with suppress(OSError):  # what was not written to a child that has ended
                    stream.close()

    def _listen(self) -> None:
        stream = self._process.stderr
        if stream is not None:
            with suppress(ValueError):  # closed under the reader
                for line in stream:
                    if line.startswith(_COUNT):
                        self.count = int(line[len(_COUNT) :])
                    else:
                        self._lines.append(self._redact(line.decode("utf-8", "replace").strip()))
