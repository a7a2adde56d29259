"""Entry point of ``danet``, before any slow import: signals, standard streams and exit codes.

A signal in the first moments, while libraries are being loaded, ends the command as a later one does. Only
before Python runs this module is a signal what the kernel makes of it, and then nothing has been done.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final, NoReturn, Protocol, runtime_checkable

from danet_runtime.cli.console.terminal import forgiving_stderr, open_standard_streams, visible_stdout
from danet_runtime.cli.live.interruption import ignore_requests, signals_as_interrupt, survive_requests
from danet_runtime.pictures.header import MOST_PIXELS
from danet_runtime.visible_text import visible

_INTERRUPTED = 130
"""Exit code that typer gives for Ctrl-C inside a command; `danet` exits as for any other failure instead."""

_ANOTHER_PATH: Final = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS)
_UNFINISHED: Final = re.compile(r"\.(.+)\.\d+-[0-9a-f]{8}\.partial(\.[^.]+)?")
"""Name of what is being written: that of the finished file, a mark, and its suffix."""


@runtime_checkable
class StatesExitCode(Protocol):
    """An error that was raised on purpose, of this package or of a sibling that imports none of it.

    Attributes:
        exit_code: Exit code of the command.
    """

    exit_code: int


def main() -> None:
    """Run ``danet``: exit code 0 done, 1 failed, interrupted or a gate not met, 2 wrong usage, 3 a fault."""
    # Workers of multiprocessing and of torch start as `python -c`, which imports from the working directory.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    # The last line of defence behind danet_runtime.pictures.reading; a stored nv12 picture is half as large
    # again.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2 * MOST_PIXELS))
    # What is wrong with a picture is told in this project's words, not by its decoders beside them.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "FATAL")
    survive_requests()
    open_standard_streams()
    try:
        with forgiving_stderr(), visible_stdout():
            _run()
    finally:
        ignore_requests()


def _run() -> None:
    came: Sequence[int] = ()
    try:
        with signals_as_interrupt() as came:
            from danet_runtime.cli.app import build_app

            build_app()()
    except KeyboardInterrupt:
        _end_interrupted()
    except SystemExit as end:
        if end.code == _INTERRUPTED or (came and end.code):
            _end_interrupted()
        raise
    except Exception as error:
        if came:  # whatever became of the interruption on its way
            logging.getLogger(__name__).info("where it happened", exc_info=error)
            _end_interrupted()
        _end_failed(error)


def _end_failed(error: Exception) -> NoReturn:
    if isinstance(error, OSError):  # a full disk, a folder without permission: the user's matter, not a bug
        from danet_runtime.files.atomic import is_full

        logging.getLogger(__name__).info("where it happened", exc_info=error)
        place = f"{_asked_for(str(error.filename))}: " if error.filename else ""
        advice = "; give another path" if error.errno in _ANOTHER_PATH else ""
        advice = "; make room there, or give another path" if is_full(error) else advice
        _say(f"error: {place}{error.strerror or error}{advice}")
        sys.exit(1)
    if not isinstance(error, StatesExitCode):
        raise error
    _say(f"error: {error}")
    sys.exit(error.exit_code)


def _asked_for(name: str) -> str:
    """The path that the user gave, of one that is written to before it gets that name."""
    path = PurePath(name)
    unfinished = _UNFINISHED.fullmatch(path.name)
    return str(path.with_name(unfinished[1] + (unfinished[2] or ""))) if unfinished else name


def _end_interrupted() -> NoReturn:
    _say("interrupted")
    sys.exit(1)


def _say(words: str) -> None:
    print(f"danet: {visible(words)}", file=sys.stderr, flush=True)
