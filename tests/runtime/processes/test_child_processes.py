"""Child processes end with the command, whatever it died of: no camera stays taken."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from command_parts import RunningCommand
from mjpeg_camera import MjpegCamera
from process_parts import children_of, is_running, seen_of
from stream_parts import until

from danet_runtime.bundle import Bundle
from danet_runtime.sources.gstreamer import PipelineSource, has_element

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


@pytest.fixture
def mjpeg_uri() -> Iterator[str]:
    with MjpegCamera() as camera:
        yield camera.uri


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
    opened: list[PipelineSource] = []
    thread = threading.Thread(target=lambda: opened.append(PipelineSource(PIPELINE)))
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
    source = PipelineSource(f"{PIPELINE},colorimetry=bt601")
    (child,) = [seen_of(child) for child in children_of(os.getpid()) if "danet-gst" in seen_of(child)]
    assert child.startswith("danet-gstreamer: ")
    assert "videotestsrc" not in child
    source.close()
