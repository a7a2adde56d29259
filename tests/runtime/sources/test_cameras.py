"""Cameras of the operating system, read by a child process whose OpenCV stands for a device."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_parts import RunningCommand
from process_parts import children_of, is_running

from danet_runtime.bundle import Bundle
from danet_runtime.clock import now_ns
from danet_runtime.errors import SourceError
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.sources import Source, open_source
from danet_runtime.sources.camera import CameraSource

FAKE_OPENCV = Path(__file__).resolve().parents[2] / "support" / "fake_opencv"
NV12, UYVY = Pixels("nv12"), Pixels("uyvy")

PATHS = [str(FAKE_OPENCV), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(PATHS))  # of a command
    monkeypatch.setattr(sys, "path", [str(FAKE_OPENCV), *sys.path])  # of a source in this process

    def plan(*sizes: tuple[int, int], **more: Any) -> None:
        monkeypatch.setenv("DANET_FAKE_CAMERA", json.dumps({"sizes": sizes, **more}))

    return plan


def raw_frame(code: str, size_hw: tuple[int, int]) -> np.ndarray:
    """The first bytes of the device."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("fake_opencv", FAKE_OPENCV / "cv2.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return np.asarray(module.raw_frame(code, size_hw, 0))


def test_a_camera_is_live_counts_its_frames_and_fails_when_none_comes(device: Callable[..., None]) -> None:
    device((4, 6), (4, 6), (4, 6))
    camera = CameraSource(0)
    assert (camera.live, camera.size_hw, camera.fps, camera.count) == (True, (4, 6), None, None)
    assert isinstance(camera, Source)
    buffer = np.empty((4, 6, 3), np.uint8)
    seen = []
    for _ in range(3):
        info = camera.read_into(buffer)
        assert info is not None
        seen.append((info.id, int(buffer[0, 0, 0]), info.clock))
    assert seen == [(0, 0, "arrival"), (1, 1, "arrival"), (2, 2, "arrival")]
    with pytest.raises(SourceError, match="0 has ended: ERROR: it gave no frame; it may have been unplugged"):
        camera.read_into(buffer)
    camera.reopen()
    info = camera.read_into(buffer)
    assert info is not None
    assert info.id == 0
    camera.close()
    with pytest.raises(SourceError, match="camera 0 is closed"):
        camera.read_into(buffer)


@pytest.mark.parametrize("unwritten", [1, 4])
def test_a_frame_that_the_device_did_not_write_is_none(device: Callable[..., None], unwritten: int) -> None:
    device((4, 6), (4, 6), unwritten=unwritten)
    camera = CameraSource(0)
    buffer = np.empty((4, 6, 3), np.uint8)
    assert camera.read_into(buffer) is not None  # the first one, which OpenCV allocates
    with pytest.raises(SourceError, match="left rows of it unwritten"):
        camera.read_into(buffer)
    camera.close()


def test_a_camera_with_a_clock_gives_the_drivers_time(device: Callable[..., None]) -> None:
    device((4, 6), endless=True, has_time=True)
    camera = CameraSource(0)
    info = camera.read_into(np.empty((4, 6, 3), np.uint8))
    assert info is not None
    assert info.clock == "sensor"
    assert 5_000_000 <= now_ns() - info.capture_time_ns < 2_000_000_000
    camera.close()


def test_a_camera_that_changes_its_size_is_an_error(device: Callable[..., None]) -> None:
    device((4, 6), (6, 8))
    camera = CameraSource(0)
    buffer = np.empty((4, 6, 3), np.uint8)
    camera.read_into(buffer)
    with pytest.raises(SourceError, match=r"changed from \(4, 6\) to \(6, 8\)"):
        camera.read_into(buffer)
    camera.close()


def test_a_camera_that_gives_nothing_is_refused(device: Callable[..., None]) -> None:
    device()
    with pytest.raises(SourceError, match="camera 3 gives no frames") as caught:
        CameraSource(3)
    assert "gives no frame; expected" in str(caught.value.__cause__)
    assert children_of(os.getpid()) == []


@pytest.mark.parametrize("hangs", ["opening", "reading"])
def test_a_camera_that_hangs_can_be_interrupted(device: Callable[..., None], hangs: str) -> None:
    device((4, 6), hangs=hangs)
    camera = CameraSource(0, start_s=30, is_open=False)
    over = threading.Event()

    def interrupt() -> None:
        while not over.wait(0.5):
            camera.interrupt()

    thread = threading.Thread(target=interrupt)
    started = time.monotonic()

    def read() -> None:
        camera.reopen()
        for _ in range(3):
            camera.read_into(np.empty((4, 6, 3), np.uint8))

    thread.start()
    with pytest.raises(SourceError, match="camera 0"):
        read()
    over.set()
    thread.join()
    assert time.monotonic() - started < 20
    camera.close()
    assert children_of(os.getpid()) == []


@pytest.mark.slow
@pytest.mark.parametrize("hangs", ["opening", "reading"])
def test_the_command_ends_in_order_while_its_camera_hangs(
    device: Callable[..., None], bundle: Bundle, tmp_path: Path, hangs: str
) -> None:
    device((48, 64), hangs=hangs, endless=True)
    options = ("--source-timeout-s", 1000, "--report", "report.json")
    command = RunningCommand(tmp_path / "out", bundle.path, "camera:0", *options)
    try:
        command.until(lambda: any(is_running(child) for child in children_of(command.process.pid)))
        if hangs == "reading":
            command.ready()
        asked = time.monotonic()
        assert command.end(15) == (0 if hangs == "reading" else 1), command.messages
        assert time.monotonic() - asked < 9  # before the opening would have been given up
        command.leaves_nothing()
    finally:
        command.kill()


@pytest.mark.parametrize(
    ("code", "pixels", "swapped"),
    [("UYVY", UYVY, False), ("YUYV", UYVY, True), ("NV12", NV12, False)],
)
def test_a_camera_of_that_format_is_read_raw_in_the_given_buffer(
    device: Callable[..., None], code: str, pixels: Pixels, swapped: bool
) -> None:
    device((48, 64), endless=True, code=code)
    camera = CameraSource(0, pixels)
    assert (camera.size_hw, camera.pixels) == ((48, 64), pixels)
    raw = raw_frame(code, (48, 64))
    buffer = np.empty(raw.shape, np.uint8)
    for _ in range(2):
        buffer[:] = 0
        camera.read_into(buffer)
        np.testing.assert_array_equal(buffer, raw[..., ::-1] if swapped else raw)
    camera.close()


def test_a_camera_without_the_format_gives_bgr_and_that_is_said(
    device: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    device((48, 64), endless=True, code="MJPG")
    with caplog.at_level(logging.WARNING):
        camera = CameraSource(0, UYVY)
    assert camera.pixels == BGR
    assert "camera 0 has no uyvy (bt601, limited range): its frames come as BGR" in caplog.text
    buffer = np.empty((48, 64, 3), np.uint8)
    assert camera.read_into(buffer) is not None
    camera.close()


def test_a_live_source_is_left_as_it_is_by_realtime(device: Callable[..., None]) -> None:
    device((48, 64), endless=True, has_time=True)
    camera = open_source("camera:0", realtime=True)
    assert isinstance(camera, CameraSource)
    info = camera.read_into(np.empty((48, 64, 3), np.uint8))
    assert info is not None
    assert info.clock == "sensor"
    camera.close()
