"""Overlays over the network with the real GStreamer: received; a child that hangs or dies blocks nobody."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from process_parts import children_of, seen_of
from sink_parts import result

from danet_runtime import dependencies
from danet_runtime.errors import MissingDependencyError, SinkError
from danet_runtime.sinks import Sink, StreamFormat, open_sink, push
from danet_runtime.sinks.push import PushSink
from danet_runtime.sources import open_source
from danet_runtime.sources.gstreamer import has_element

SYSTEM_PYTHON = "/usr/bin/python3"
RECORDER = Path(__file__).resolve().parents[2] / "support" / "rtsp_recorder.py"

pytestmark = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None
    or not any(has_element(name) for name in ("x264enc", "openh264enc", "nvh264enc", "nvv4l2h264enc")),
    reason="GStreamer with an encoder for H.264 is not installed",
)


def has_rtsp_server() -> bool:
    asked = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    if not Path(SYSTEM_PYTHON).exists() or not has_element("rtspclientsink"):
        return False
    return subprocess.run([SYSTEM_PYTHON, "-c", asked], check=False, capture_output=True).returncode == 0


@pytest.fixture(autouse=True)
def _no_child_is_left(watchdog: Callable[[int], None]) -> Iterator[None]:
    watchdog(60)
    yield
    assert not [child for child in children_of(os.getpid()) if "danet-gst" in seen_of(child)]


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(type=kind) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Writing:
    """Writes pictures of one color until it is stopped, as the thread of a sink does."""

    def __init__(self, sink: Sink, size_hw: tuple[int, int], color: tuple[int, int, int]) -> None:
        self.sink = sink
        self.failures: list[str] = []
        self.slowest_s = 0.0
        self._frame = np.empty((*size_hw, 3), np.uint8)
        self._frame[:] = color
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Writing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.sink.close()
        self.sink.close()

    def _run(self) -> None:
        number = 0
        while not self._end.wait(0.04):
            started = time.monotonic()
            try:
                self.sink.write(result(self._frame, number, label=255))
            except SinkError as error:
                self.failures.append(str(error))
            self.slowest_s = max(self.slowest_s, time.monotonic() - started)
            number += 1


@pytest.mark.parametrize("size_hw", [(96, 128), (95, 127)])
def test_what_is_sent_over_udp_is_received(
    stream_format: Callable[..., StreamFormat], size_hw: tuple[int, int]
) -> None:
    port = free_port(socket.SOCK_DGRAM)
    sink = open_sink(f"udp://127.0.0.1:{port}")
    assert isinstance(sink, PushSink)
    sink.open(stream_format(size_hw))
    with Writing(sink, size_hw, (200, 40, 90)) as writing:
        source = open_source(f"gst:udpsrc address=127.0.0.1 port={port} ! tsdemux ! h264parse ! avdec_h264")
        assert source.size_hw == (96, 128)
        frame = np.empty((96, 128, 3), np.uint8)
        for _ in range(5):
            source.read_into(frame)
        source.close()
    assert np.abs(frame.reshape(-1, 3).mean(0) - (200, 40, 90)).max() < 8
    assert writing.failures == []
    description = sink.describe()
    assert description["frames"] > 5
    assert description["restarts"] == 0
    assert description["encoder"] in ("x264enc", "openh264enc", "nvh264enc", "nvv4l2h264enc")


@pytest.mark.skipif(not has_rtsp_server(), reason="an RTSP server or rtspclientsink is not installed")
def test_what_is_pushed_to_an_rtsp_server_arrives(stream_format: Callable[..., StreamFormat]) -> None:
    port = free_port(socket.SOCK_STREAM)
    server = subprocess.Popen([SYSTEM_PYTHON, str(RECORDER), str(port)], stdout=subprocess.PIPE)
    assert server.stdout is not None
    try:
        assert server.stdout.readline() == b"ready\n"
        sink = open_sink(f"rtsp://127.0.0.1:{port}/street")
        sink.open(stream_format((96, 128)))
        with Writing(sink, (96, 128), (200, 40, 90)) as writing:
            assert server.stdout.readline() == f"picture {96 * 128 * 3}\n".encode()
        assert writing.failures == []
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_child_that_dies_or_hangs_fails_the_write_and_is_started_again(
    stream_format: Callable[..., StreamFormat], number: int
) -> None:
    sink = PushSink("gst:fakesink")
    sink.open(stream_format((480, 640)))
    with Writing(sink, (480, 640), (1, 2, 3)) as writing:
        wait(lambda: sink.describe()["frames"] > 3)
        assert sink._child is not None
        os.kill(sink._child.pid, number)
        wait(lambda: writing.failures)
        sent = sink.describe()["frames"]
        wait(lambda: sink.describe()["frames"] > sent + 5)
    assert sink.restarts == 1
    assert ("has ended" if number == signal.SIGKILL else "has not taken a frame for 1 s") in writing.failures[
        0
    ]
    assert all("is started again in" in words for words in writing.failures[1:])
    assert writing.slowest_s < 4


@pytest.mark.parametrize("number", [None, signal.SIGKILL])
def test_what_counts_as_sent_has_left_the_pipeline(
    tmp_path: Path, stream_format: Callable[..., StreamFormat], number: int | None
) -> None:
    sent = tmp_path / "sent.raw"
    sink = PushSink(f"gst:filesink location={sent} buffer-mode=unbuffered")
    sink.open(stream_format((48, 64)))
    frame = np.zeros((48, 64, 3), np.uint8)
    for _ in range(20):
        sink.write(result(frame))
    if number is not None:
        assert sink._child is not None
        wait(lambda: sink.sent > 5)
        os.kill(sink._child.pid, number)
    sink.close()
    there = sent.stat().st_size // (48 * 64 * 4)
    assert sink.sent + sink.unsent == 20
    if number is None:
        assert (sink.sent, there) == (20, 20)
    else:
        assert 5 < sink.sent <= there


@pytest.mark.skipif(not has_element("gdppay"), reason="GStreamer's gdppay is not installed")
def test_times_count_from_the_start_and_never_fall_however_frames_meet_the_start(
    tmp_path: Path, stream_format: Callable[..., StreamFormat]
) -> None:
    def send(number: int) -> list[int]:
        sent = tmp_path / f"{number}.gdp"
        sink = PushSink(f"gst:gdppay ! filesink location={sent}")
        sink.open(stream_format((16, 16)))
        for _ in range(200):  # as fast as the pipeline takes them, from before it plays
            sink.write(result(np.zeros((16, 16, 3), np.uint8)))
        sink.close()
        return list(times_in(sent.read_bytes()))

    for times in map(send, range(4)):
        known = [time_ns for time_ns in times if time_ns != 2**64 - 1]
        assert len(times) == 200
        assert known == sorted(known)
        assert max(known, default=0) < 60e9


def times_in(protocol: bytes) -> Iterator[int]:
    """Timestamps of the buffers in a recording of the GStreamer Data Protocol."""
    place = 0
    while place < len(protocol):
        kind, length, time_ns = struct.unpack_from(">HIQ", protocol, place + 4)
        if kind == 1:
            yield time_ns
        place += 62 + length


def test_a_receiver_that_never_answers_has_got_nothing(
    stream_format: Callable[..., StreamFormat], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_element("rtspclientsink"):
        pytest.skip("GStreamer's rtspclientsink is not installed")
    monkeypatch.setattr(push, "_NO_PROGRESS_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        sink = PushSink(f"rtsp://127.0.0.1:{mute.getsockname()[1]}/street")
        sink.open(stream_format((48, 64)))
        with Writing(sink, (48, 64), (1, 2, 3)) as writing:
            wait(lambda: writing.failures)
    assert "has sent nothing for 0.5 s" in writing.failures[0]
    assert sink.sent == 0
    assert sink.unsent > 2


def test_a_pipeline_that_cannot_run_says_why_without_the_credentials(
    stream_format: Callable[..., StreamFormat],
) -> None:
    port = free_port(socket.SOCK_STREAM)
    for uri, words in (
        ("gst:nosuchelement", 'no element "nosuchelement"'),
        (f"rtsp://driver:hunter2@127.0.0.1:{port}/street", "rtsp://***@127.0.0.1"),
    ):
        if uri.startswith("rtsp") and not has_element("rtspclientsink"):
            continue
        sink = PushSink(uri)
        sink.open(stream_format((480, 640)))
        with Writing(sink, (480, 640), (1, 2, 3)) as writing:
            wait(lambda failures=writing.failures: len(failures) > 3, 20)
        assert words in writing.failures[0]
        assert "hunter2" not in str(writing.failures) + str(sink.describe())


def test_without_gstreamer_or_an_encoder_that_is_said(
    stream_format: Callable[..., StreamFormat], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = PushSink("udp://127.0.0.1:5000")
    monkeypatch.setattr(push, "has_element", lambda _: False)
    with pytest.raises(SinkError, match=r"no H\.264 encoder"):
        sink.open(stream_format())
    monkeypatch.setattr(push, "has_element", lambda name: name == "x264enc")
    with pytest.raises(SinkError, match="lacks h264parse, mpegtsmux, udpsink"):
        sink.open(stream_format())
    monkeypatch.setattr(dependencies.shutil, "which", lambda _: None)
    with pytest.raises(MissingDependencyError, match="apt install gstreamer"):
        sink.open(stream_format())
    with pytest.raises(SinkError, match="not open"):
        sink.write(result(np.zeros((48, 64, 3), np.uint8)))


def wait(holds: Callable[[], object], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
