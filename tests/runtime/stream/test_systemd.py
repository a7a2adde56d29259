"""systemd hears when a stream is ready and that it lives, over a real socket."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from danet_command import DANET
from stream_parts import Camera, Echo, stream_of

from danet_runtime import Segmenter, Stream
from danet_runtime.bundle import Bundle
from danet_runtime.cli.live.status import reporting_status
from danet_runtime.sources import open_source
from danet_runtime.stream.systemd import SystemdNotifier


@pytest.fixture
def notify_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "notify"))
    listener.settimeout(5)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "40000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    yield listener
    listener.close()


def test_ready_comes_after_the_golden_frame_then_pings_then_stopping(
    notify_socket: socket.socket, bundle: Bundle, tmp_path: Path, video_maker: Callable[..., Path]
) -> None:
    video = video_maker(tmp_path / "in.mp4", 300, (48, 64))
    with Segmenter(bundle) as segmenter, Stream(segmenter, open_source(video)) as stream:
        first = notify_socket.recv(64)
        assert stream.health.state == "ready"
        heard = [notify_socket.recv(64) for _ in range(2)]
    while heard[-1] != b"STOPPING=1":
        heard.append(notify_socket.recv(64))
    assert first == b"READY=1"
    assert set(heard[:-1]) == {b"WATCHDOG=1"}


def test_the_status_says_the_state_the_rate_and_the_reason_in_one_line(
    notify_socket: socket.socket, bundle: Bundle
) -> None:
    notify_socket.settimeout(20)
    with Segmenter(bundle, backend=Echo()) as segmenter, stream_of(segmenter, Camera()) as stream:
        stream.health.set("front.lost", "stale", "front is lost:\n  the cable")
        with reporting_status(stream, every_s=0.05):
            statuses = [heard_status(notify_socket) for _ in range(3)]
    assert all(re.match(r"stale, \d+\.\d frames a second, \d+ out", line) for line in statuses)
    assert statuses[-1].endswith(": front is lost: the cable")
    assert "\n" not in statuses[-1]


def heard_status(listener: socket.socket) -> str:
    while True:
        heard = listener.recv(1024).decode()
        if heard.startswith("STATUS="):
            return heard.removeprefix("STATUS=")


def test_danet_run_tells_its_status(
    notify_socket: socket.socket, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notify_socket.settimeout(30)
    process = subprocess.Popen(
        [*DANET, "run", bundle.path, "synthetic:?size=48x64&fps=50"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert "frames a second" in heard_status(notify_socket)
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_without_systemd_nothing_is_sent_and_nothing_raised(tmp_path: Path) -> None:
    quiet = SystemdNotifier({})
    quiet.send("READY=1")
    quiet.ping()
    assert quiet.watchdog_s is None
    unheard = SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    assert not unheard.send("READY=1")
    unheard.close()
    other = SystemdNotifier({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"})
    assert other.watchdog_s is None
