"""A process that has loaded the libraries of ``danet`` and forks for each command that is asked of it.

The fork has its own working directory, standard streams and exit code, and ends as an interpreter does. It is
no process of a user in one thing: its libraries were loaded before. Two are left to the fork: OpenCV, which
reads its limits from the environment while it is loaded, and ONNX Runtime, which starts a thread then.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

_PRELOADED: Final = (
    *("av", "typer.rich_utils", "danet_runtime.cli.commands.run", "danet_runtime.backends.onnxruntime"),
    *(
        "danet_runtime.recorder",
        "danet_runtime.sinks",
        "danet_runtime.sources",
        "danet_runtime.stream.stream",
    ),
)
_OF_THE_TEST: Final = "PYTEST_CURRENT_TEST"


class ForkingDanet:
    """The process, seen from the tests."""

    def __init__(self) -> None:
        self._environment = _of_the_command(os.environ)
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._end)

    def is_like(self, environment: Mapping[str, str]) -> bool:
        """Whether its libraries were loaded in this environment."""
        return _of_the_command(environment) == self._environment

    def run(self, words: list[str], cwd: Path, printed: tuple[Path, Path], timeout_s: float) -> int:
        """Run a command to its end.

        Args:
            words: Behind ``danet``.
            cwd: Where it runs.
            printed: What it prints on standard output and on standard error lands in these files.
            timeout_s: How long it may take.

        Returns:
            Its exit code; that of a signal is negative.

        Raises:
            TimeoutExpired: It took longer, and was killed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(
            json.dumps([words, str(cwd), *map(str, printed), timeout_s]), flush=True, file=self._process.stdin
        )
        code: int | None = json.loads(self._process.stdout.readline())
        if code is None:
            raise subprocess.TimeoutExpired(words, timeout_s)
        return code

    def _end(self) -> None:
        self._process.communicate()


def _of_the_command(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name != _OF_THE_TEST}


def _serve() -> None:
    asked = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(nowhere, number)
    for name in _PRELOADED:
        with contextlib.suppress(ImportError):  # a test of the command itself says so
            module = importlib.import_module(name)
            for registry in ("SINKS", "SOURCES"):
                list(getattr(module, registry, ()))  # loads what is registered
    gc.freeze()  # what the collector does not look at in the fork is not copied for it
    for line in asked:
        *request, timeout_s = json.loads(line)
        pid = os.fork()
        if not pid:
            asked.close()
            answers.close()
            _become(*request)
        print(json.dumps(_waited(pid, timeout_s)), flush=True, file=answers)


def _waited(pid: int, timeout_s: float) -> int | None:
    """Wait for the end of a child and return its exit code; None: it took longer, and was killed."""
    handle = os.pidfd_open(pid)
    in_time, _, _ = select.select([handle], [], [], timeout_s)
    os.close(handle)
    if not in_time:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if in_time else None


def _become(words: list[str], cwd: str, *printed: str) -> NoReturn:
    os.chdir(cwd)
    for number, path in enumerate(printed, 1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["danet", *words]
    sys.path[0] = cwd  # as `python -m` has it
    from danet_runtime.cli.entry import main

    main()
    sys.exit()


if __name__ == "__main__":
    _serve()
