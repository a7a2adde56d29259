"""Results to write, and processes that are killed while they write them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from typing import Any

import numpy as np

from danet_runtime.result import Result


def result(
    frame: np.ndarray[Any, Any], frame_id: int = 0, label: int = 1, name: str | None = None, **more: Any
) -> Result:
    labels = np.full(frame.shape[:2], label, np.uint8)
    return Result(
        frame, labels, frame_id, more.pop("capture_time_ns", time.monotonic_ns()), 1.0, {}, name=name, **more
    )


def run_and_kill(script: str, *arguments: object) -> str:
    """Run a script until it prints a line, then SIGKILL it; what it printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    assert "ready" in line
    return line
