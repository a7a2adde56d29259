"""Sinks: what is written is whole and in its place, or is not there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle
from danet_runtime.errors import SinkError, UsageError
from danet_runtime.result import Result
from danet_runtime.sinks import Sink, StreamFormat
from danet_runtime.sinks.masks import MasksSink
from danet_runtime.sinks.video import VideoSink


@pytest.fixture
def stream_format(bundle: Bundle) -> Callable[..., StreamFormat]:
    segmenter = Segmenter(bundle)

    def make(size_hw: tuple[int, int] = (48, 64), fps: float | None = 25.0) -> StreamFormat:
        return StreamFormat(size_hw, fps, segmenter.classes, segmenter.palette)

    return make


def result(frame: np.ndarray, frame_id: int = 0, label: int = 1, name: str | None = None) -> Result:
    labels = np.full(frame.shape[:2], label, np.uint8)
    return Result(frame, labels, frame_id, 0, 1.0, {}, name=name)


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov", ".mkv", ".avi", ".MP4"])
@pytest.mark.parametrize("fps", [25.0, 29.97, None])
def test_a_video_has_the_size_the_rate_and_every_frame(
    tmp_path: Path,
    stream_format: Callable[..., StreamFormat],
    picture_maker: Callable[..., np.ndarray],
    video_reader: Callable,
    suffix: str,
    fps: float | None,
) -> None:
    path = tmp_path / "new" / f"out{suffix}"
    sink = VideoSink(path)
    assert isinstance(sink, Sink)
    sink.open(stream_format(fps=fps))
    for number in range(7):
        sink.write(result(picture_maker(48, 64, shift=number), number))
        assert not path.exists()
    sink.close()
    sink.close()
    frames, rate = video_reader(path)
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 7
    assert rate == pytest.approx(fps or 10.0, rel=0.01)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    expected = 0.5 * picture_maker(48, 64) + 0.5 * np.array([20, 200, 20])
    assert np.abs(frames[0] - expected).mean() < 8
    assert sink.describe()["frames"] == 7


def test_an_odd_size_is_extended_and_said(
    tmp_path: Path,
    stream_format: Callable[..., StreamFormat],
    picture_maker: Callable[..., np.ndarray],
    video_reader: Callable,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = VideoSink(tmp_path / "odd.avi", opacity=0.0)
    with caplog.at_level(logging.WARNING):
        sink.open(stream_format((49, 65)))
    assert "49x65 are extended to 50x66" in caplog.text
    frame = picture_maker(49, 65)
    sink.write(result(frame))
    sink.close()
    (written,), _ = video_reader(tmp_path / "odd.avi")
    assert written.shape == (50, 66, 3)
    assert np.abs(written[:49, :65].astype(int) - frame).mean() < 4
    assert np.abs(written[49, :65].astype(int) - frame[48]).mean() < 4
    assert sink.describe()["size_hw"] == [50, 66]


def test_nothing_written_leaves_nothing(tmp_path: Path, stream_format: Callable[..., StreamFormat]) -> None:
    sink = VideoSink(tmp_path / "out.mp4")
    sink.open(stream_format())
    sink.close()
    assert list(tmp_path.iterdir()) == []
    never_opened = VideoSink(tmp_path / "out.mp4")
    never_opened.close()
    with pytest.raises(SinkError, match="not open"):
        never_opened.write(result(np.zeros((48, 64, 3), np.uint8)))


def test_outputs_are_replaced_only_on_request(
    tmp_path: Path, stream_format: Callable[..., StreamFormat], picture_maker: Callable[..., np.ndarray]
) -> None:
    path = tmp_path / "out.mp4"
    path.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        VideoSink(path)
    sink = VideoSink(path, overwrite=True)
    sink.open(stream_format())
    assert path.read_text() == "mine"
    sink.write(result(picture_maker(48, 64)))
    sink.close()
    assert path.stat().st_size > 100
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        VideoSink(tmp_path / "folder.mp4", overwrite=True)


@pytest.mark.parametrize("name", ["out", "out.png", "out.webm"])
def test_a_suffix_that_is_no_video_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"expected a video with one of \.mp4"):
        VideoSink(tmp_path / name)


def test_a_video_that_cannot_be_written_is_refused_before_the_first_frame(
    tmp_path: Path, stream_format: Callable[..., StreamFormat]
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SinkError, match="cannot be written"):
        VideoSink(tmp_path / "file" / "out.mp4").open(stream_format())


def test_a_video_that_lost_frames_is_an_error(
    tmp_path: Path,
    stream_format: Callable[..., StreamFormat],
    picture_maker: Callable[..., np.ndarray],
) -> None:
    sink = VideoSink(tmp_path / "out.mp4")
    sink.open(stream_format())
    for number in range(5):
        sink.write(result(picture_maker(48, 64), number))
    sink._written += 2  # as if the encoder had swallowed two: cv2.VideoWriter reports no failure
    with pytest.raises(SinkError, match="holds 5 of 7 frames"):
        sink.close()


def test_masks_are_the_labels_under_the_pictures_names(
    tmp_path: Path, stream_format: Callable[..., StreamFormat]
) -> None:
    folder = tmp_path / "a" / "masks"
    sink = MasksSink(folder)
    assert isinstance(sink, Sink)
    sink.open(stream_format())
    frame = np.zeros((48, 64, 3), np.uint8)
    for number, name in enumerate((None, "street.jpg", "street.png")):
        sink.write(result(frame, number, label=number or 255, name=name))
    sink.close()
    found = {file.name: cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in folder.iterdir()}
    assert set(found) == {"frame_000000.png", "street.png", "street_000002.png"}
    for name, label in (("frame_000000.png", 255), ("street.png", 1), ("street_000002.png", 2)):
        np.testing.assert_array_equal(found[name], np.full((48, 64), label, np.uint8))
    assert sink.describe()["frames"] == 3


def test_a_folder_with_files_is_written_to_only_on_request_and_nothing_is_removed(
    tmp_path: Path, stream_format: Callable[..., StreamFormat]
) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="holds files already"):
        MasksSink(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        MasksSink(tmp_path / "mine.txt", overwrite=True)
    sink = MasksSink(tmp_path, overwrite=True)
    sink.open(stream_format())
    sink.write(result(np.zeros((4, 4, 3), np.uint8)))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["frame_000000.png", "mine.txt"]


def test_masks_that_cannot_be_written_are_a_sink_error(
    tmp_path: Path, stream_format: Callable[..., StreamFormat]
) -> None:
    (tmp_path / "file").write_text("x")
    sink = MasksSink(tmp_path / "file" / "masks")
    sink.open(stream_format())
    with pytest.raises(SinkError, match="cannot be written"):
        sink.write(result(np.zeros((4, 4, 3), np.uint8)))
