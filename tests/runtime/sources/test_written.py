"""Whatever reads, every byte of the destination is written, or nothing is called a frame."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import truth
from hypothesis import given
from hypothesis import strategies as st
from video_files import KINDS, Kind, Plan, kind, make, number_in

from danet_runtime.errors import MissingDependencyError, SourceError
from danet_runtime.sources import Source, open_source
from danet_runtime.sources.video import VideoSource
from danet_runtime.sources.video_files.capture import InPlaceCapture
from danet_runtime.sources.video_files.opencv_video import OpenCvVideoSource, writes_what_it_gives


def written(opened: Callable[[], Source]) -> list[np.ndarray]:
    """All frames, each read into two poisons: what was not written differs."""
    both = []
    for poison in (0, 255):
        source, frames = opened(), []
        while True:
            buffer = np.full((*source.size_hw, 3), poison, np.uint8)
            if source.read_into(buffer) is None:
                break
            frames.append(buffer)
        source.close()
        both.append(frames)
    np.testing.assert_array_equal(*both)
    return both[0]


@pytest.mark.parametrize("turned", [0, 90])
def test_a_video(tmp_path: Path, turned: int) -> None:
    path = make(tmp_path, kind("h264.mp4"), Plan(5, turned=turned))
    assert len(written(lambda: VideoSource(path))) == 5


@pytest.mark.parametrize("name", ["fields.mp4", "fields.ts", "mpeg2_fields.mpg", "dv.avi"])
def test_an_interlaced_video(tmp_path: Path, name: str) -> None:
    path = make(tmp_path, kind(name), Plan(5))
    assert [number_in(frame) for frame in written(lambda: VideoSource(path))] == [0, 1, 2, 3, 4]


@pytest.fixture
def any_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("danet_runtime.sources.video_files.opencv_video.writes_what_it_gives", lambda: True)


@pytest.mark.usefixtures("any_opencv")
@pytest.mark.parametrize("one", KINDS[:6], ids=str)
def test_a_video_that_opencv_reads(tmp_path: Path, one: Any) -> None:
    path = make(tmp_path, one, Plan(5))
    assert [number_in(frame) for frame in written(lambda: OpenCvVideoSource(path))] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["fields.mp4", "fields.ts", "mpeg2_fields.mpg", "dv.avi"])
def test_an_opencv_that_gives_out_what_it_did_not_write_reads_no_video(tmp_path: Path, name: str) -> None:
    path = make(tmp_path, kind(name), Plan(5))
    if writes_what_it_gives():  # as OpenCV 4.10
        assert [number_in(frame) for frame in written(lambda: OpenCvVideoSource(path))] == [0, 1, 2, 3, 4]
    else:
        with pytest.raises(MissingDependencyError, match="pictures that it has not written"):
            OpenCvVideoSource(path)


@pytest.mark.usefixtures("any_opencv")
def test_a_machine_without_pyav_reads_with_opencv_and_says_its_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = make(tmp_path, kind("h264.mp4"), Plan(5))
    monkeypatch.setitem(sys.modules, "av", None)
    source = open_source(path)
    assert isinstance(source, OpenCvVideoSource)
    assert "read without PyAV" in caplog.text
    buffer = np.empty((*source.size_hw, 3), np.uint8)
    assert source.read_into(buffer) is not None
    assert number_in(buffer) == 0
    source.close()


def test_pictures(tmp_path: Path) -> None:
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), truth.draw(number))
    assert len(written(lambda: open_source(tmp_path))) == 2


def test_the_test_pattern() -> None:
    assert len(written(lambda: open_source("synthetic:?size=48x64&fps=0&frames=3"))) == 3


def test_a_pipeline() -> None:
    uri = "gst:videotestsrc num-buffers=2 pattern=ball ! video/x-raw,width=50,height=37"
    try:
        open_source(uri).close()
    except Exception as error:  # noqa: BLE001 - whatever is missing
        pytest.skip(f"no GStreamer: {error}")

    def frame(poison: int) -> np.ndarray:
        source = open_source(uri)
        buffer = np.full((37, 50, 3), poison, np.uint8)
        assert source.read_into(buffer) is not None
        source.close()
        return buffer

    np.testing.assert_array_equal(frame(0), frame(255))


@pytest.mark.parametrize("size", [(9472, 9472), (16, 17000)])
def test_absurd_sizes_are_refused_without_pyav_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr("danet_runtime.sources.video_files.opencv_video.writes_what_it_gives", lambda: True)
    path = make(tmp_path, Kind("raw.avi", "rawvideo"), Plan(3))
    small, stated = ((256, 128), size[::-1])
    data = path.read_bytes()
    sides = b"".join(side.to_bytes(4, "little") for side in small)
    assert sides in data
    path.write_bytes(data.replace(sides, b"".join(side.to_bytes(4, "little") for side in stated)))
    with pytest.raises(SourceError, match=rf"raw\.avi states frames of {size[0]}x{size[1]}"):
        OpenCvVideoSource(path)


class Capture:
    """Stands for OpenCV's: says that it gave a frame, whatever it wrote."""

    def __init__(self, frame: np.ndarray, rows: slice) -> None:
        self.frame, self.rows = frame, rows

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def read(self) -> tuple[bool, np.ndarray]:
        return True, self.frame

    def grab(self) -> bool:
        return True

    def get(self, _key: int) -> float:
        return 0.0

    def getBackendName(self) -> str:  # noqa: N802 - OpenCV's name
        return "FAKE"

    def retrieve(self, buffer: np.ndarray) -> tuple[bool, np.ndarray]:
        buffer[self.rows] = self.frame[self.rows]
        return True, buffer

    def release(self) -> None:
        pass


@given(start=st.integers(0, 12), end=st.integers(0, 12), level=st.integers(0, 255))
def test_a_frame_is_one_only_where_opencv_wrote_every_row(start: int, end: int, level: int) -> None:
    frame = np.full((12, 16, 3), level, np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cv2, "VideoCapture", lambda *_: Capture(frame, slice(start, end)))
        capture = InPlaceCapture("x", "CAP_ANY", "x")
    buffer = np.zeros_like(frame)
    capture.read_into(buffer)  # the first one was read to open it
    if (start, end) == (0, 12):
        capture.read_into(buffer)
        np.testing.assert_array_equal(buffer, frame)
    else:
        with pytest.raises(SourceError, match="left rows of it unwritten"):
            capture.read_into(buffer)
