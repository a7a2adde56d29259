"""Results to write, and processes that are killed while they write them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Any

import cv2
import numpy as np
import pytest

from danet_runtime.clock import now_ns
from danet_runtime.results.result import Result


def result(
    frame: np.ndarray[Any, Any], frame_id: int = 0, label: int = 1, name: str | None = None, **more: Any
) -> Result:
    labels = np.full(frame.shape[:2], label, np.uint8)
    return Result(frame, labels, frame_id, more.pop("capture_time_ns", now_ns()), 1.0, {}, name=name, **more)


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


class Screen:
    """Stands for OpenCV's windows, with the keys that are pressed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, keys: list[int], visible: float = 1.0) -> None:
        self.shown: list[np.ndarray] = []
        self.opened: list[str] = []
        monkeypatch.setenv("DISPLAY", ":0")
        monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:        GTK3\n")
        monkeypatch.setattr(cv2, "namedWindow", lambda title, _flags: self.opened.append(title))
        monkeypatch.setattr(cv2, "imshow", lambda _title, picture: self.shown.append(picture.copy()))
        monkeypatch.setattr(cv2, "waitKey", lambda _ms: keys.pop(0) if keys else -1)
        monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: visible)
        monkeypatch.setattr(cv2, "destroyWindow", lambda title: self.opened.remove(title))
