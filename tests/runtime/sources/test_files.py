"""Sources: every frame in place, in order, once; and what is wrong is said by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from danet_runtime.errors import SourceError, SourceTruncatedError, UsageError
from danet_runtime.sources import FrameInfo, Source, open_source
from danet_runtime.sources.images import ImagesSource
from danet_runtime.sources.video import VideoSource


def read_all(source: Source) -> tuple[list[np.ndarray], list[FrameInfo]]:
    buffer = np.empty((*source.size_hw, 3), np.uint8)
    frames, infos = [], []
    while (info := source.read_into(buffer)) is not None:
        frames.append(buffer.copy())
        infos.append(info)
    source.close()
    return frames, infos


@pytest.fixture
def pictures(tmp_path: Path, picture_maker: Callable[..., np.ndarray]) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, name in enumerate(("b.png", "a.jpg", "c.PNG", "d.bmp")):
        cv2.imwrite(str(folder / name), picture_maker(48, 64, shift=number))
    (folder / "notes.txt").write_text("no picture")
    (folder / "inner.png").mkdir()
    return folder


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_video_gives_the_same_frames_as_opencv_in_the_given_buffer(
    tmp_path: Path, video_maker: Callable[..., Path], video_reader: Callable, suffix: str
) -> None:
    path = video_maker(tmp_path / f"v{suffix}", 12)
    source = open_source(path)
    assert isinstance(source, VideoSource)
    assert isinstance(source, Source)
    assert (source.size_hw, source.fps, source.count, source.live) == ((48, 64), 25.0, 12, False)
    frames, infos = read_all(source)
    expected, _ = video_reader(path)
    np.testing.assert_array_equal(frames, expected)
    assert [info.id for info in infos] == list(range(12))
    assert [info.media_time_ms for info in infos] == pytest.approx(
        [40.0 * number for number in range(12)], abs=1
    )
    times = [info.capture_time_ns for info in infos]
    assert times == sorted(times)


def test_the_end_of_a_source_stays_the_end(tmp_path: Path, video_maker: Callable[..., Path]) -> None:
    source = open_source(video_maker(tmp_path / "v.mp4", 2))
    buffer = np.empty((48, 64, 3), np.uint8)
    assert [source.read_into(buffer) is None for _ in range(5)] == [False, False, True, True, True]
    source.close()
    source.close()
    with pytest.raises(SourceError, match="closed"):
        source.read_into(buffer)


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
def test_a_video_that_was_cut_off_gives_what_is_left_and_then_says_how_many_are_missing(
    tmp_path: Path, video_maker: Callable[..., Path], suffix: str
) -> None:
    path = video_maker(tmp_path / f"v{suffix}", 100)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    source = open_source(path)
    buffer = np.empty((48, 64, 3), np.uint8)
    came = 0
    with pytest.raises(SourceTruncatedError, match=r"ended after \d+ of 100 frames") as caught:  # noqa: PT012
        while source.read_into(buffer) is not None:
            came += 1
    source.close()
    assert 10 < came < 90
    assert f"after {came} of" in str(caught.value)


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "folder gone"])
def test_a_file_that_is_no_whole_video_is_refused_at_once(
    tmp_path: Path, video_maker: Callable[..., Path], damage: str
) -> None:
    path = video_maker(tmp_path / "v.mp4", 20)
    whole = path.read_bytes()
    path.write_bytes(
        {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"hello\n" * 99}.get(damage, whole)
    )
    if damage == "folder gone":
        path.unlink()
        with pytest.raises(SourceError, match="not a file"):
            VideoSource(path)
    else:
        with pytest.raises(SourceError, match=r"v\.mp4 cannot be opened as a video"):
            open_source(path)


@pytest.mark.parametrize(
    ("name", "frames", "size_hw"),
    [("highway_960x540.mp4", 221, (540, 960)), ("highway_1280x720.mp4", 38, (720, 1280))],
)
def test_a_real_video_gives_every_frame(
    real_video: Callable[[str], Path], name: str, frames: int, size_hw: tuple[int, int]
) -> None:
    source = open_source(real_video(name))
    assert (source.count, source.size_hw) == (frames, size_hw)
    buffer = np.empty((*size_hw, 3), np.uint8)
    came = 0
    while source.read_into(buffer) is not None:
        came += 1
    source.close()
    assert came == frames


def test_a_folder_gives_its_pictures_by_name(
    pictures: Path, picture_maker: Callable[..., np.ndarray]
) -> None:
    source = open_source(pictures)
    assert isinstance(source, ImagesSource)
    assert isinstance(source, Source)
    assert (source.size_hw, source.fps, source.count, source.live) == ((48, 64), None, 4, False)
    frames, infos = read_all(source)
    assert [info.name for info in infos] == ["a.jpg", "b.png", "c.PNG", "d.bmp"]
    assert [info.id for info in infos] == [0, 1, 2, 3]
    np.testing.assert_array_equal(frames[1], picture_maker(48, 64, shift=0))
    with pytest.raises(SourceError, match="closed"):
        source.read_into(frames[0])


def test_a_pattern_or_a_single_picture_is_a_source_too(pictures: Path) -> None:
    assert [info.name for info in read_all(open_source(f"{pictures}/*.png"))[1]] == ["b.png"]
    assert [info.name for info in read_all(open_source(pictures / "a.jpg"))[1]] == ["a.jpg"]


@pytest.mark.parametrize("name", ["a.jpg", "b.png"])
def test_a_picture_that_was_cut_off_is_named_and_no_grey_is_invented(pictures: Path, name: str) -> None:
    file = pictures / name
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(SourceError, match=rf"{name} is cut off"):
        read_all(open_source(pictures))


@pytest.mark.parametrize("content", [b"", b"no picture", b"BM broken"])
def test_a_file_that_is_no_picture_is_named(pictures: Path, content: bytes) -> None:
    (pictures / "d.bmp").write_bytes(content)
    with pytest.raises(SourceError, match=r"d\.bmp is no picture"):
        read_all(open_source(pictures))


def test_pictures_of_different_sizes_are_refused_with_the_one_that_differs(
    pictures: Path, picture_maker: Callable[..., np.ndarray]
) -> None:
    cv2.imwrite(str(pictures / "c.PNG"), picture_maker(48, 66))
    with pytest.raises(SourceError, match=r"c\.PNG is 48x66, the pictures before it are 48x64"):
        read_all(open_source(pictures))


def test_an_empty_folder_and_a_pattern_without_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no picture"):
        open_source(tmp_path)
    with pytest.raises(UsageError, match="matches no picture"):
        open_source(f"{tmp_path}/*.png")


@pytest.mark.parametrize("text", ["nowhere.mp4", "ftp://camera/1", "camera:front", "", "-1", "1.5"])
def test_anything_else_is_a_usage_error_with_what_is_accepted(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected (a video file, a picture, a folder|camera:N)"):
        open_source(text if text else "/nowhere/")


def test_a_file_that_is_not_there_is_called_so() -> None:
    with pytest.raises(UsageError, match=r"there is no file or folder 'nosuch\.mp4'; expected a video file"):
        open_source("nosuch.mp4")


@pytest.mark.skipif(Path("/dev/video0").exists(), reason="this machine has a camera")
def test_a_camera_that_is_not_there_is_refused_with_the_devices_that_are() -> None:
    with pytest.raises(SourceError, match=r"camera 0 gives no frames; video devices on this machine: none"):
        open_source("0")
