"""systemd hears when a stream is ready and that it lives, over a real socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from danet_runtime import Segmenter, Stream
from danet_runtime.bundle import Bundle
from danet_runtime.sources import open_source
from danet_runtime.systemd import SystemdNotifier


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


def test_without_systemd_nothing_is_sent_and_nothing_raised(tmp_path: Path) -> None:
    quiet = SystemdNotifier({})
    quiet.send("READY=1")
    quiet.ping()
    assert quiet.watchdog_s is None
    SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).send("READY=1")
    other = SystemdNotifier({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"})
    assert other.watchdog_s is None
