"""`danet run` as a process of its own, watched and ended from outside, as a service manager does it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
from danet_command import DANET

ENDS_WITHIN_S = 60.0
"""Far more than any end may take beside other work; what hangs takes for ever."""

_MARK = "DANET_TEST_RUN"


class RunningCommand:
    """One `danet run`, with its standard error in a file and a socket for what it tells systemd.

    Args:
        folder: What it runs in; relative outputs land there.
        arguments: After `danet run`.
        wrapper: What to start it with, such as :data:`small_disk.WRAPPER`.
        environment: Further variables.
    """

    def __init__(
        self, folder: Path, *arguments: object, wrapper: Sequence[str] = (), **environment: str
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self._notified = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0danet-{self.mark}")
        self._socket.setblocking(False)
        self._errors = folder.with_name(f"{folder.name}.stderr")
        self._output = folder.with_name(f"{folder.name}.stdout")
        with self._errors.open("wb") as errors, self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [*wrapper, *DANET, "run", *map(str, arguments)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env={**os.environ, _MARK: self.mark, "NOTIFY_SOCKET": f"@danet-{self.mark}", **environment},
                # Tests that were started by nohup pass on that it is ignored, and so would the command.
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL) and None,
            )

    @property
    def messages(self) -> str:
        """What it has printed as errors and events."""
        return self._errors.read_text()

    @property
    def printed(self) -> str:
        """What it has printed as its result."""
        return self._output.read_text()

    @property
    def is_ready(self) -> bool:
        """Whether it has told systemd that it is ready."""
        while True:
            try:
                self._notified += self._socket.recv(4096)
            except BlockingIOError:
                return b"READY=1" in self._notified

    def until(self, holds: Callable[[], object], seconds: float = ENDS_WITHIN_S) -> RunningCommand:
        """Wait for something to hold while it runs."""
        end = time.monotonic() + seconds
        while not holds():
            assert self.process.poll() is None, f"it ended before: {self.messages}"
            assert time.monotonic() < end, f"it did not happen in time: {self.messages}"
            time.sleep(0.01)
        return self

    def ready(self) -> RunningCommand:
        """Wait for it to be ready."""
        return self.until(lambda: self.is_ready)

    def wait(self) -> int:
        """Wait for its end; its exit code."""
        try:
            return self.process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it does not end: {self.messages}") from None

    def end(self, *numbers: int, apart_s: float = 0.0) -> int:
        """Send signals, one after the other while it lives, and wait for its end; its exit code."""
        for number in numbers:
            if self.process.poll() is None:
                self.process.send_signal(number)
                time.sleep(apart_s)
        return self.wait()

    def kill(self) -> None:
        """End it without a word, where it runs."""
        self._socket.close()
        if self.process.poll() is None:
            for pid in self.processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def processes(self) -> list[int]:
        """It and all that it has started, those that outlive it included."""
        wanted = f"{_MARK}={self.mark}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                try:
                    environment = (folder / "environ").read_bytes()
                except OSError:
                    continue
                if wanted in environment.split(b"\0"):
                    found.append(int(folder.name))
        return found

    @property
    def pid(self) -> int:
        """The process id of the command itself, whatever it was started with."""
        found = [
            pid
            for pid in self.processes()
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1 : len(DANET) + 1]
            == [*map(str.encode, DANET[1:]), b"run"]
        ]
        return min(found)  # a child that was forked just now has its parent's command line

    def leaves_nothing(self) -> None:
        """Check that neither a process nor a half-written file is left, and that nothing ended in a trace."""
        end = time.monotonic() + 5
        while self.processes() and time.monotonic() < end:
            time.sleep(0.05)  # one that was killed needs a moment
        assert [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in self.processes()] == []
        assert [file.name for file in self.folder.rglob(".*")] == []
        assert "Traceback" not in self.messages
        self._socket.close()


def report_of(path: Path) -> dict[str, Any]:
    """A report, whose counts are checked to add up: of each camera, and of all together."""
    report: dict[str, Any] = json.loads(path.read_text())
    cameras = [camera["frames"] for camera in report["cameras"]]
    for frames in (report["frames"], *cameras):
        parts = ("out", "dropped", "late_dropped", "failed", "unfinished")
        assert frames["in"] == sum(frames[part] for part in parts), frames
    assert report["frames"]["in"] == sum(frames["in"] for frames in cameras)
    return report


def sink_of(report: dict[str, Any], kind: str, camera: int = 0) -> dict[str, Any]:
    """What a report says of one sink."""
    (found,) = [sink for sink in report["cameras"][camera]["sinks"] if sink["kind"] == kind]
    return dict(found)


def frames_of(video: Path) -> int:
    """How many frames a video plays."""
    capture = cv2.VideoCapture(str(video))
    assert capture.isOpened(), video
    frames = 0
    while capture.read()[0]:
        frames += 1
    return frames


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The records of a file of JSON lines, each of which must be whole."""
    text = path.read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]
