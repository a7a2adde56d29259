"""Child processes end with the command, whatever it died of: no camera stays taken."""

from __future__ import annotations

import http.server
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_parts import RunningCommand
from process_parts import children_of, is_running, seen_of
from stream_parts import until

from danet_runtime.bundle import Bundle
from danet_runtime.sources.gstreamer import ChildSource, has_element

needs_gstreamer = pytest.mark.skipif(not has_element("gdppay"), reason="GStreamer is not installed")

PIPELINE = "gst:videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=25/1"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningCommand]]:
    started: list[RunningCommand] = []

    def run(*arguments: object) -> RunningCommand:
        started.append(RunningCommand(tmp_path / "out", *arguments))
        return started[-1]

    yield run
    for command in started:
        command.kill()


class Pictures(http.server.BaseHTTPRequestHandler):
    """A camera that sends pictures without end."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        data = cv2.imencode(".jpg", np.full((48, 64, 3), 100, np.uint8))[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        while True:
            try:
                self.wfile.write(head + data + b"\r\n")
            except OSError:
                return
            time.sleep(0.02)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mjpeg_uri() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/video"
    server.shutdown()
    server.server_close()
    thread.join(5)


@needs_gstreamer
def test_no_child_outlives_a_command_that_was_killed(
    start: Callable[..., RunningCommand], bundle: Bundle, mjpeg_uri: str
) -> None:
    command = start(
        bundle.path, f"front={PIPELINE}", f"rear={mjpeg_uri}", "--sink", "gst:fakesink name={camera}"
    )
    command.ready().until(lambda: len(children_of(command.pid)) == 4)  # two sources, two outputs
    children = children_of(command.pid)
    os.kill(command.pid, signal.SIGKILL)
    until(lambda: not any(is_running(child) for child in children), 20)
    assert command.processes() == []


@needs_gstreamer
def test_a_child_outlives_the_thread_that_started_it() -> None:
    opened: list[ChildSource] = []
    thread = threading.Thread(target=lambda: opened.append(ChildSource(PIPELINE)))
    thread.start()
    thread.join()
    (source,) = opened
    buffer = np.empty((48, 64, 3), np.uint8)
    for number in range(5):
        info = source.read_into(buffer)
        assert info is not None
        assert info.id == number
    source.close()


@needs_gstreamer
def test_a_child_is_known_by_its_name_and_not_by_what_it_reads() -> None:
    source = ChildSource(f"{PIPELINE},colorimetry=bt601")
    (child,) = [seen_of(child) for child in children_of(os.getpid()) if "danet-gst" in seen_of(child)]
    assert child.startswith("danet-gstreamer: ")
    assert "videotestsrc" not in child
    source.close()
