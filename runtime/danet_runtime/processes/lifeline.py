"""The child's end of its standard input: first what nobody else may see, then a sign that its parent lives.

Arguments of a process are seen by every user of the machine, so what a child is to do comes in through its
standard input. That stays open as long as the parent lives: the kernel closes it at its death, whatever the
parent died of. (``PR_SET_PDEATHSIG`` follows the *thread* that started a child, and threads end.)
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress


def message(words: tuple[str, ...]) -> bytes:
    """Return the bytes for the child: their number, a line feed, and the words with a NUL between them."""
    text = "\0".join(words).encode()
    return b"%d\n" % len(text) + text


def read_message() -> list[str]:
    """The words; from here on this process ends, with all in its process group, when its parent does."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # meant for the parent, but systemctl sends it to all
    length = int(sys.stdin.buffer.readline() or b"0")
    words = sys.stdin.buffer.read(length).decode().split("\0")
    threading.Thread(target=_end_with_parent, name="danet-lifeline", daemon=True).start()
    return words


def _end_with_parent() -> None:
    with suppress(OSError):
        os.read(sys.stdin.fileno(), 1)
    os.killpg(0, signal.SIGKILL)
