"""A command in a process of its own, and what it took."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

DANET = (sys.executable, "-m", "danet_runtime")
"""The command line of ``danet``, to which its arguments are added."""

# Linux counts the memory of the process that starts another to the other's peak, until that has its own
# image. So a small process stands between this one, which has torch in it, and the one that is measured.
_LAUNCHER = """
import json, os, subprocess, sys, time
begun = time.monotonic()
started = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(started.pid, 0)
unit = 1 if sys.platform == "darwin" else 1024
print(json.dumps({
    "code": os.waitstatus_to_exitcode(status),
    "peak_bytes": usage.ru_maxrss * unit,
    "seconds": time.monotonic() - begun,
    "cpu_seconds": usage.ru_utime + usage.ru_stime,
}))
"""


@dataclass(frozen=True)
class Usage:
    """Memory and time of one process.

    Attributes:
        peak_bytes: The most memory that was resident for it.
        seconds: From its start to its end.
        cpu_seconds: CPU time of all its threads, in it and in the system for it.
    """

    peak_bytes: int
    seconds: float
    cpu_seconds: float


def run_alone(command: Sequence[str]) -> Usage:
    """Run a command to its end in a process of its own, and give what it took.

    Raises:
        SystemExit: It failed; what it said is in the message.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, *command], capture_output=True, text=True, check=True
    )
    measured = json.loads(done.stdout)
    if code := measured.pop("code"):
        raise SystemExit(f"{' '.join(command)} ended with {code}:\n{done.stderr.strip()}")
    return Usage(**measured)


def peak_memory_bytes(command: Sequence[str]) -> int:
    """The most memory that was resident for a command; see :func:`run_alone`."""
    return run_alone(command).peak_bytes
