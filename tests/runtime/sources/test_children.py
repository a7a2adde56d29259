"""Sources in child processes, with the real GStreamer: frames, time, credentials, ends that are noticed."""

from __future__ import annotations

import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from process_parts import children_of
from stream_parts import Echo, stream_of, until

from danet_runtime.clock import now_ns
from danet_runtime.errors import MissingDependencyError, SourceError, UsageError
from danet_runtime.sources import gstreamer, open_source
from danet_runtime.sources.gstreamer import PipelineSource, has_element
from danet_runtime.sources.live.child import FrameChild
from danet_runtime.sources.protocol import gdp

SYSTEM_PYTHON = "/usr/bin/python3"
SERVER = Path(__file__).resolve().parents[2] / "support" / "rtsp_server.py"

needs_gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None or not has_element("gdppay"), reason="GStreamer is not installed"
)


def has_rtsp_server() -> bool:
    asked = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    if not Path(SYSTEM_PYTHON).exists():
        return False
    return subprocess.run([SYSTEM_PYTHON, "-c", asked], check=False, capture_output=True).returncode == 0


needs_rtsp_server = pytest.mark.skipif(
    not has_rtsp_server(), reason="gir1.2-gst-rtsp-server-1.0 is not installed"
)


def read(source: PipelineSource, frames: int) -> list[np.ndarray]:
    buffer = np.empty((*source.size_hw, 3), np.uint8)
    taken = []
    for number in range(frames):
        info = source.read_into(buffer)
        assert info is not None
        assert info.id == number
        taken.append(buffer.copy())
    return taken


@needs_gstreamer
@pytest.mark.parametrize("size", [(48, 64), (37, 50)])  # 50 pixels are 150 bytes: rows are extended to 152
def test_a_pipeline_gives_its_frames_with_the_streams_time(size: tuple[int, int]) -> None:
    height, width = size
    caps = f"video/x-raw,width={width},height={height},framerate=50/1"
    source = open_source(f"gst:videotestsrc is-live=true pattern=blue ! {caps}")
    assert (source.size_hw, source.fps, source.live) == (size, 50.0, True)
    frame = read(source, 3)[-1]
    assert (frame == (255, 0, 0)).all()  # BGR
    buffer = np.empty((*size, 3), np.uint8)
    times = []
    for _ in range(10):
        info = source.read_into(buffer)
        assert info is not None
        assert info.clock == "stream"
        assert 0 <= now_ns() - info.capture_time_ns < 10**9
        times.append(info.capture_time_ns)
    assert np.mean(np.diff(times)) / 1e6 == pytest.approx(20, abs=3)
    source.close()
    source.close()


@needs_gstreamer
def test_a_pipeline_that_ends_or_never_starts_says_what_gstreamer_said() -> None:
    source = open_source("gst:videotestsrc is-live=true num-buffers=2 ! video/x-raw,width=64,height=48")
    with pytest.raises(SourceError, match="has ended"):
        read(source, 3)
    source.close()
    for pipeline, words in (
        ("nosuchelement", 'no element "nosuchelement"'),
        ("filesrc location=/nonexistent ! decodebin", "ERROR"),
        ("fakesrc is-live=true num-buffers=1", "not-negotiated|has ended"),
    ):
        with pytest.raises(SourceError, match=words):
            PipelineSource(f"gst:{pipeline}", start_s=2)
    assert children_of(os.getpid()) == []


@needs_gstreamer
def test_a_child_that_hangs_can_be_interrupted_from_another_thread_and_opened_again() -> None:
    source = PipelineSource("gst:videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=1/2")
    read(source, 1)
    threading.Timer(0.1, source.interrupt).start()
    started = time.monotonic()
    with pytest.raises(SourceError, match="has ended"):
        read(source, 10)
    assert time.monotonic() - started < 1.5
    source.reopen()
    read(source, 1)
    source.close()
    assert children_of(os.getpid()) == []


@needs_gstreamer
@needs_rtsp_server
def test_an_rtsp_camera_that_is_killed_and_comes_back_goes_on(segmenter_with: Callable) -> None:
    port = free_port()
    server = start_server(port)
    source = open_source(f"rtsp://driver:hunter2@127.0.0.1:{port}/street")
    assert source.size_hw == (240, 320)
    options = {"reconnect_first_s": 0.1, "reconnect_most_s": 0.5, "source_timeout_s": 1.0}
    with stream_of(segmenter_with(Echo()), source, **options) as stream:
        until(lambda: stream.frames_out > 10)
        server.kill()
        server.wait()
        until(lambda: stream.health.state == "stale", 15)
        server = start_server(port)
        frames = stream.frames_out
        until(lambda: stream.frames_out > frames + 10, 30)
        until(lambda: stream.health.state == "ready", 15)
    server.kill()
    server.wait()
    report = stream.report()
    assert report.cameras[0]["reconnects"] >= 1
    assert report.error is None
    text = str(report.to_dict())
    assert "hunter2" not in text
    assert "rtsp://***@127.0.0.1" in text


@needs_gstreamer
def test_no_error_shows_the_credentials() -> None:
    uri = f"rtsp://driver:hunter2@127.0.0.1:{free_port()}/street"
    with pytest.raises(SourceError) as refused:
        open_source(uri)
    assert "hunter2" not in str(refused.value)
    assert "driver" not in str(refused.value)
    with pytest.raises(UsageError) as wrong:
        open_source("rtsp://driver:hunter2@/")
    assert "hunter2" not in str(wrong.value)


class Mjpeg(http.server.BaseHTTPRequestHandler):
    """Sends a picture again and again; the fifth is cut off in the middle."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        picture = cv2.imencode(".jpg", np.full((48, 64, 3), 200, np.uint8))[1].tobytes()
        for number in range(200):
            data = picture if number != 5 else picture[: len(picture) // 2]
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + data + b"\r\n")
            except OSError:
                return
            time.sleep(0.02)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mjpeg_uri() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mjpeg)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/video"
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_an_mjpeg_camera_plays_on_over_a_truncated_picture(mjpeg_uri: str) -> None:
    source = open_source(mjpeg_uri)
    assert source.describe()["decoder"] == "ffmpeg"
    frames = read(source, 12)
    assert sum(abs(frame.mean() - 200) < 2 for frame in frames) >= 11
    source.close()


def test_without_gstreamer_a_pipeline_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gstreamer.shutil, "which", lambda _: None)
    with pytest.raises(
        MissingDependencyError, match=r"gst: needs GStreamer.*apt install gstreamer1\.0-tools"
    ):
        open_source("gst:videotestsrc")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"x" * 62, "expected a packet"),
        (gdp.write_header(gdp.BUFFER, 9), "without their format"),
        (gdp.write_header(gdp.CAPS, 11) + b"audio/x-raw", "expected raw video"),
        (gdp.write_header(gdp.CAPS, 2**32 - 1), "announces"),
        (b"", "has ended"),
    ],
)
def test_a_child_that_sends_nonsense_is_refused(data: bytes, words: str) -> None:
    script = f"import os, sys; os.write(int(sys.argv[1]), {data!r})"
    child = FrameChild([sys.executable, "-c", script, "{fd}"], "nonsense", str)
    with pytest.raises(SourceError, match=words):
        child.await_format(5)
    child.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_server(port: int) -> subprocess.Popen[bytes]:
    server = subprocess.Popen([SYSTEM_PYTHON, str(SERVER), str(port)], stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    server.stdout.close()
    return server
