"""Every sink with a camera that delivers nv12 or uyvy: what is shown, shared and kept has its colors."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mask_files import labels_in
from sink_parts import Screen
from stream_parts import Echo, stream_of

from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle
from danet_runtime.clock import now_ns
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.color import to_pixel_format
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.recorder.reader import FlightRecording
from danet_runtime.recorder.recorder import FlightRecorder
from danet_runtime.recorder.replay import replay
from danet_runtime.results.result import Result
from danet_runtime.sinks import CallbackSink, SharedMaskReader, Sink, open_sink
from danet_runtime.sinks.shared import layout as shared_layout
from danet_runtime.sources import FrameInfo

HW = (48, 64)
FORMATS = [BGR, Pixels("nv12"), Pixels("uyvy"), Pixels("nv12", "bt709", "full")]
LABEL = 1
COLORED = 0.5 * np.array([20, 200, 20])  # half of the tree's color


class Unlabelled(Echo):
    """A backend whose labels are one class on the left and none on the right."""

    def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
        labels[..., : HW[1] // 2] = LABEL
        labels[..., HW[1] // 2 :] = 255


class Painted:
    """A camera that looks at one picture and delivers it in a format."""

    live = True
    fps: float | None = 25.0
    size_hw = HW
    count: int | None = 4

    def __init__(self, picture: UInt8Array, pixels: Pixels) -> None:
        self.pixels = pixels
        self._frame = to_pixel_format(picture, pixels)
        self._read = 0

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        if self._read == self.count:
            return None
        time.sleep(0.01)
        np.copyto(buffer, self._frame)
        self._read += 1
        return FrameInfo(self._read - 1, now_ns())

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


@pytest.fixture
def painting() -> UInt8Array:
    """Even areas, so that shared chroma costs nothing: blue, green, red and grey."""
    picture = np.empty((*HW, 3), np.uint8)
    picture[:24, :32], picture[:24, 32:] = (200, 60, 40), (50, 180, 70)
    picture[24:, :32], picture[24:, 32:] = (40, 50, 190), (128, 128, 128)
    return picture


@pytest.fixture
def stream_to(bundle: Bundle, painting: UInt8Array) -> Callable[[Pixels, Sink], dict[str, Any]]:
    def run(pixels: Pixels, sink: Sink) -> dict[str, Any]:
        spec = bundle.manifest.frame.model_copy(
            update={"pixel_format": pixels.format, "color": pixels.color, "range": pixels.range}
        )
        changed = Bundle(bundle.path, bundle.manifest.model_copy(update={"frame": spec}), bundle.sha256)
        segmenter = Segmenter(changed, backend=Unlabelled())
        report = stream_of(segmenter, Painted(painting, pixels), [sink], policy="every").run()
        row = report.cameras[0]["sinks"][0]
        assert (row["written"], row["failed"]) == (4, 0)
        return dict(row)

    return run


def is_painting(picture: UInt8Array, painting: UInt8Array, within: float) -> bool:
    return picture.shape == painting.shape and float(np.abs(picture.astype(int) - painting).max()) <= within


def is_overlay(picture: UInt8Array, painting: UInt8Array, within: float = 4) -> bool:
    """Colored on the left, the frame itself on the right."""
    expected = painting.astype(float)
    expected[:, : HW[1] // 2] = 0.5 * expected[:, : HW[1] // 2] + COLORED
    return float(np.abs(picture[..., :3] - expected)[2:-2, 2:-2].mean()) <= within


@pytest.mark.parametrize("pixels", FORMATS, ids=str)
def test_the_flight_recorder_keeps_what_the_camera_saw_and_replay_shows_it(
    tmp_path: Path, stream_to: Callable, painting: UInt8Array, video_reader: Callable, pixels: Pixels
) -> None:
    box = FlightRecorder(tmp_path)
    stream_to(pixels, box)
    recording = FlightRecording(box.save(tmp_path / "box"))
    entry = next(iter(recording))
    assert entry.pixels == BGR
    assert np.abs(entry.frame.astype(int) - painting).mean() < 6  # JPEG
    assert (entry.labels[:, :32] == LABEL).all()
    replay(recording, tmp_path / "replay.avi")
    picture = video_reader(tmp_path / "replay.avi")[0][0][: HW[0], : HW[1]]
    assert is_overlay(picture, painting, within=12)


@pytest.mark.parametrize("pixels", FORMATS, ids=str)
@pytest.mark.skipif(not shared_layout.FOLDER.is_dir(), reason="this system has no /dev/shm")
def test_shared_memory_has_the_frame_in_bgr(
    stream_to: Callable, painting: UInt8Array, pixels: Pixels
) -> None:
    name = f"test-{os.getpid()}-{time.monotonic_ns()}"
    seen = []
    sink = open_sink(f"shm:{name}?frame=1")
    write = sink.write

    def read_after(result: Result) -> None:
        write(result)
        with SharedMaskReader(name) as reader:
            seen.append(reader.latest(10_000))

    sink.write = read_after  # type: ignore[method-assign]
    stream_to(pixels, sink)
    assert len(seen) == 4
    for mask in seen:
        assert mask is not None
        assert is_painting(mask.frame, painting, within=6)
        assert (mask.labels[:, :32] == LABEL).all()


@pytest.mark.parametrize("pixels", FORMATS, ids=str)
@pytest.mark.skipif(shutil.which("gst-launch-1.0") is None, reason="GStreamer is not installed")
def test_what_is_pushed_has_its_colors(
    tmp_path: Path, stream_to: Callable, painting: UInt8Array, pixels: Pixels
) -> None:
    sent = tmp_path / "sent.raw"
    stream_to(pixels, open_sink(f"gst:filesink location={sent}"))
    frames = np.frombuffer(sent.read_bytes(), np.uint8).reshape(-1, *HW, 4)
    assert len(frames) == 4
    assert all(is_overlay(frame, painting) for frame in frames)


@pytest.mark.parametrize("pixels", FORMATS, ids=str)
def test_a_window_shows_its_colors(
    stream_to: Callable, painting: UInt8Array, monkeypatch: pytest.MonkeyPatch, pixels: Pixels
) -> None:
    screen = Screen(monkeypatch, [])
    stream_to(pixels, open_sink("window:"))
    assert len(screen.shown) == 4
    assert all(is_overlay(picture, painting) for picture in screen.shown)


@pytest.mark.parametrize("pixels", FORMATS, ids=str)
def test_videos_masks_lines_and_functions_take_it(
    tmp_path: Path, stream_to: Callable, painting: UInt8Array, video_reader: Callable, pixels: Pixels
) -> None:
    stream_to(pixels, open_sink(tmp_path / "out.avi"))
    assert all(is_overlay(frame, painting, within=12) for frame in video_reader(tmp_path / "out.avi")[0])
    stream_to(pixels, open_sink(f"masks:{tmp_path / 'masks'}"))
    mask = labels_in(tmp_path / "masks" / "frame_000003.png")
    assert mask.shape == HW
    stream_to(pixels, open_sink(tmp_path / "out.jsonl"))
    assert '"shares":{"tree":0.5}' in (tmp_path / "out.jsonl").read_text()
    seen = []
    stream_to(pixels, CallbackSink(lambda result: seen.append(result.bgr().copy())))
    assert all(is_painting(frame, painting, within=6) for frame in seen)
