"""Videos: playable at every moment, also after a kill and on a full disk."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from danet_command import DANET
from sink_parts import result, run_and_kill
from stream_parts import until
from video_files import repeated

from danet_runtime import OverlayStyle
from danet_runtime.bundle import Bundle
from danet_runtime.errors import SinkError, UsageError
from danet_runtime.sinks import Sink, StreamFormat
from danet_runtime.sinks.protocol.presentation import PresentationClock
from danet_runtime.sinks.video import VideoSink
from danet_runtime.sinks.writing import video_file
from danet_runtime.sinks.writing.video_file import VideoFile


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
        sink.write(result(picture_maker(48, 64, shift=number), number, media_time_ms=1.0))
    sink.close()
    sink.close()
    frames, rate = video_reader(path)
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 7
    assert rate == pytest.approx(fps or 10.0, rel=0.01)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    expected = 0.5 * picture_maker(48, 64) + 0.5 * np.array([20, 200, 20])
    assert np.abs(frames[0] - expected).mean() < 8
    assert sink.describe()["frames"] == 7


def times_of(path: Path) -> list[float]:
    """When each frame of a video is shown, in seconds."""
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("codecs", [0, 1])
def test_a_cameras_frames_are_shown_when_they_were_captured(
    tmp_path: Path,
    stream_format: Callable[..., StreamFormat],
    picture_maker: Callable[..., np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
    codecs: int,
) -> None:
    monkeypatch.setattr(video_file, "_CODECS", video_file._CODECS[codecs:])
    # 120 frames a second are told, about 30 come; then one is late by two seconds.
    captured_ms = [0, 33, 66, 101, 133, 2133, 2166, 2200, 2201]
    sink = VideoSink(tmp_path / f"out{suffix}")
    sink.open(stream_format(fps=120.0))
    for number, ms in enumerate(captured_ms):
        given = result(picture_maker(48, 64), 4 * number, capture_time_ns=10**15 + ms * 10**6)
        sink.write(given)
    sink.close()
    assert times_of(sink.path) == pytest.approx([ms / 1e3 for ms in captured_ms], abs=2e-3)


def test_a_files_frames_keep_its_clock_however_fast_they_were_read_and_whatever_was_dropped(
    tmp_path: Path, stream_format: Callable[..., StreamFormat], picture_maker: Callable[..., np.ndarray]
) -> None:
    ids = [3, 4, 5, 9, 10]
    for place, named in enumerate(({"media_time_ms": 7.0}, {"name": "street.png"})):
        sink = VideoSink(tmp_path / f"{place}.mp4")
        sink.open(stream_format(fps=20.0))
        for number in ids:
            sink.write(result(picture_maker(48, 64), number, **named))
        sink.close()
        assert times_of(sink.path) == pytest.approx([(number - 3) / 20 for number in ids])


def test_avi_says_that_it_keeps_no_times(
    tmp_path: Path,
    stream_format: Callable[..., StreamFormat],
    picture_maker: Callable[..., np.ndarray],
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = VideoSink(tmp_path / "out.avi")
    sink.open(stream_format(fps=20.0))
    for number in range(3):
        sink.write(result(picture_maker(48, 64), number, capture_time_ns=number * 10**9))
    sink.close()
    assert times_of(sink.path) == pytest.approx([0, 0.05, 0.1])
    assert caplog.text.count("AVI keeps no times") == 1


def test_presentation_times_never_go_back(picture_maker: Callable[..., np.ndarray]) -> None:
    clock = PresentationClock(10.0)
    second = 10**9
    captured = [50 * second, 51 * second, 51 * second - 2000, 7 * second, 8 * second, 100 * second]
    shown = [
        clock.seconds(result(picture_maker(4, 4), number, capture_time_ns=ns))
        for number, ns in enumerate(captured)
    ]
    # A small step back waits for time to catch up; a jump goes on at the rate from the frame before.
    assert shown == pytest.approx([0.0, 1.0, 1.0, 1.1, 2.1, 94.1])


def test_an_odd_size_is_extended_and_said(
    tmp_path: Path,
    stream_format: Callable[..., StreamFormat],
    picture_maker: Callable[..., np.ndarray],
    video_reader: Callable,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = VideoSink(tmp_path / "odd.avi", style=OverlayStyle(alpha=0.0))
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
    assert path.read_text() == "mine"  # until the first frame
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


@pytest.mark.parametrize(
    "suffix",
    [*(".mp4", ".avi"), *(pytest.param(suffix, marks=pytest.mark.slow) for suffix in (".mov", ".mkv"))],
)
def test_a_video_of_a_killed_process_plays_up_to_its_last_half_second(
    tmp_path: Path, video_reader: Callable, suffix: str
) -> None:
    path = tmp_path / f"out{suffix}"
    run_and_kill(
        """
        import numpy as np, sys
        from pathlib import Path
        from danet_runtime.sinks.writing.video_file import VideoFile
        video = VideoFile(Path(sys.argv[1]), (48, 64), 20.0)
        for number in range(50):
            video.write(np.full((48, 64, 3), 5 * number, np.uint8))
        print("ready", flush=True)
        sys.stdin.read()
        """,
        path,
    )
    frames, rate = video_reader(path)
    assert 50 - 11 <= len(frames) <= 50
    assert rate == pytest.approx(20.0)
    for number, frame in enumerate(frames):
        assert abs(frame.mean() - 5 * number) < 6


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
@pytest.mark.parametrize("period_s", [3600.0, 90.0, 1.001])
def test_a_time_lapse_keeps_its_rate(
    tmp_path: Path, picture_maker: Callable[..., np.ndarray], suffix: str, period_s: float
) -> None:
    video = VideoFile(tmp_path / f"out{suffix}", (48, 64), 1 / period_s)
    for number in range(4):
        video.write(picture_maker(48, 64, shift=number))
    video.close()
    assert times_of(tmp_path / f"out{suffix}") == pytest.approx([period_s * n for n in range(4)], rel=1e-3)


def test_a_finished_mp4_says_how_many_frames_it_has(tmp_path: Path, picture_maker: Callable) -> None:
    import cv2

    video = VideoFile(tmp_path / "out.mp4", (48, 64), 20.0)
    for number in range(33):
        video.write(picture_maker(48, 64, shift=number))
    video.close()
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 33
    assert capture.get(cv2.CAP_PROP_FPS) == 20.0


@pytest.mark.parametrize("suffix", [".mp4", ".avi", pytest.param(".mkv", marks=pytest.mark.slow)])
def test_a_full_disk_is_noticed_at_once_and_the_frames_before_stay(
    tmp_path: Path, video_reader: Callable, suffix: str
) -> None:
    path = tmp_path / f"out{suffix}"
    printed = run_and_kill(
        """
        import numpy as np, resource, signal, sys
        from pathlib import Path
        from danet_runtime.errors import SinkError
        from danet_runtime.sinks.writing.video_file import VideoFile
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        noise = np.random.default_rng(0)
        video = VideoFile(Path(sys.argv[1]), (96, 128), 20.0)
        failures = []
        for number in range(400):
            try:
                video.write(noise.integers(0, 255, (96, 128, 3), np.uint8))
            except SinkError as error:
                failures.append(str(error))
        video.close()
        print(video.frames, len(failures), failures[0], "ready", flush=True)
        """,
        path,
    )
    written, failed, *words = printed.split()
    assert int(written) + int(failed) == 400
    assert int(written) > 15
    assert "File too large" in " ".join(words)
    frames, _ = video_reader(path)
    assert int(written) - 11 <= len(frames) <= int(written) + 1


def test_without_x264_mpeg4_is_written_and_said(
    tmp_path: Path,
    stream_format: Callable[..., StreamFormat],
    picture_maker: Callable[..., np.ndarray],
    video_reader: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(video_file, "_CODECS", video_file._CODECS[1:])
    sink = VideoSink(tmp_path / "out.mp4", style=OverlayStyle(alpha=0.0))
    sink.open(stream_format(fps=29.97))
    for number in range(5):
        sink.write(result(picture_maker(48, 64, shift=number), number))
    sink.close()
    assert sink.describe()["codec"] == "mpeg4"
    frames, _ = video_reader(tmp_path / "out.mp4")
    assert len(frames) == 5
    assert np.abs(frames[0].astype(int) - picture_maker(48, 64)).mean() < 8


def test_a_killed_danet_run_leaves_a_video_that_plays(
    bundle: Bundle, tmp_path: Path, video_maker: Callable[..., Path], video_reader: Callable
) -> None:
    source, output = tmp_path / "in.mp4", tmp_path / "out.mp4"
    repeated(source, video_maker(tmp_path / "short.mp4", 60, (240, 320)), 25)
    process = subprocess.Popen(
        [*DANET, "run", bundle.path, source, "-o", output],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: output.exists() and output.stat().st_size > 20_000, 30)
    process.kill()
    assert process.wait() == -9
    frames, rate = video_reader(output)
    assert 12 <= len(frames) < 1500
    assert (rate, frames[-1].shape) == (25.0, (240, 320, 3))
