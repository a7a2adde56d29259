"""Sources that hand frames through in the format of the camera, byte for byte."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from danet_runtime import dependencies
from danet_runtime.errors import SourceError, UsageError
from danet_runtime.frames.color import to_bgr, to_pixel_format
from danet_runtime.frames.pixel_formats import BGR, Pixels, pixels_of
from danet_runtime.sources import gstreamer, open_source
from danet_runtime.sources.gstreamer import has_element
from danet_runtime.sources.protocol import gdp

NV12, UYVY = Pixels("nv12"), Pixels("uyvy")

needs_gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None or not has_element("gdppay"), reason="GStreamer is not installed"
)


def read_one(source: Any) -> np.ndarray:
    buffer = np.empty(pixels_of(source).shape(source.size_hw), np.uint8)
    assert source.read_into(buffer) is not None
    source.close()
    return buffer


def raw_video(file: Path, frames: np.ndarray, pixels: Pixels, size_hw: tuple[int, int], stride: int) -> str:
    """A pipeline of known bytes, in rows of ``stride`` bytes."""
    rows = frames.reshape(*frames.shape[:2], -1)
    np.pad(rows, ((0, 0), (0, 0), (0, stride - rows.shape[2]))).tofile(file)
    height, width = size_hw
    planes = 2 if pixels.format == "nv12" else 1
    strides = ",".join([str(stride)] * planes)
    offsets = ",".join(str(stride * height * plane) for plane in range(planes))
    return (
        f"gst:filesrc location={file} ! rawvideoparse format={pixels.format} width={width} height={height} "
        f"framerate=25/1 'plane-strides=<{strides}>' 'plane-offsets=<{offsets}>' "
        f"frame-size={stride * rows.shape[1]}"
    )


def assert_gives(source: Any, frames: np.ndarray) -> None:
    buffer = np.empty(frames.shape[1:], np.uint8)
    for frame in frames:
        assert source.read_into(buffer) is not None
        np.testing.assert_array_equal(buffer, frame)
    source.close()


@needs_gstreamer
@pytest.mark.parametrize("pixels", [NV12, UYVY], ids=["nv12", "uyvy"])
# Rows of 50 bytes are extended to 52, in both planes; 38 rows are no multiple of four.
@pytest.mark.parametrize("size_hw", [(48, 64), (38, 50), (38, 46)])
def test_a_pipeline_of_that_format_is_handed_through_byte_for_byte(
    tmp_path: Path, rng: np.random.Generator, pixels: Pixels, size_hw: tuple[int, int]
) -> None:
    frames = rng.integers(0, 256, (3, *pixels.shape(size_hw)), np.uint8)
    row = frames[0, 0].nbytes
    uri = raw_video(tmp_path / "raw", frames, pixels, size_hw, gdp.padded_row(row))
    source = open_source(uri, pixels=pixels)
    assert (source.size_hw, source.pixels.format) == (size_hw, pixels.format)
    assert_gives(source, frames)


@needs_gstreamer
def test_rows_of_another_length_are_refused_with_what_copies_them(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    frames = rng.integers(0, 256, (2, 48, 64, 2), np.uint8)
    uri = raw_video(tmp_path / "raw", frames, UYVY, (48, 64), 144)
    source = open_source(uri, pixels=UYVY)
    with pytest.raises(SourceError, match=r"sent a frame of 6912 bytes; expected 6144 for uyvy") as caught:
        source.read_into(np.empty((48, 64, 2), np.uint8))
    source.close()
    advice = "! videoconvert ! video/x-raw,format=YUY2"
    assert advice in str(caught.value)
    assert_gives(open_source(f"{uri} {advice}", pixels=UYVY), frames)


@needs_gstreamer
@pytest.mark.parametrize(
    ("colorimetry", "expected"),
    [
        ("bt709", ("bt709", "limited")),
        ("bt601", ("bt601", "limited")),
        ("1:4:0:0", ("bt601", "full")),
        ("1:3:5:1", ("bt709", "full")),
    ],
)
def test_the_stream_says_its_matrix_and_range(colorimetry: str, expected: tuple[str, str]) -> None:
    caps = f"video/x-raw,format=NV12,width=64,height=48,colorimetry=(string){colorimetry}"
    source = open_source(f"gst:videotestsrc num-buffers=2 ! '{caps}'", pixels=NV12)
    assert (source.pixels.color, source.pixels.range) == expected
    source.close()


@needs_gstreamer
def test_frames_whose_size_the_format_does_not_have_are_refused() -> None:
    with pytest.raises(SourceError, match=r"must be even \(got 37x50\); open it without a pixel format"):
        open_source("gst:videotestsrc num-buffers=2 ! video/x-raw,width=50,height=37", pixels=NV12)


@pytest.mark.parametrize("video", ["highway_960x540.mp4"])
@needs_gstreamer
def test_a_decoded_video_has_the_same_picture_as_opencvs(
    real_video: Callable[[str], Path], video: str
) -> None:
    """540 rows: decoders work on blocks of 16, and the planes of their own memory lie further apart."""
    path = real_video(video)
    source = open_source(f"gst:filesrc location={path} ! decodebin", pixels=NV12)
    frame = read_one(source)
    bgr = read_one(open_source(path))
    luma = NV12.luma(to_pixel_format(bgr, source.pixels))
    assert np.abs(NV12.luma(frame).astype(int) - luma).mean() < 2
    assert np.abs(to_bgr(frame, source.pixels).astype(int) - bgr).mean() < 4


def test_on_a_jetson_frames_leave_the_video_engine_in_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gstreamer, "has_element", lambda name: name == "nvvidconv")
    monkeypatch.setattr(dependencies.shutil, "which", lambda program: f"/usr/bin/{program}")
    for pixels, of_engine, given in ((NV12, "NV12", "NV12"), (BGR, "BGRx", "BGR")):
        words = " ".join(gstreamer.CsiSource.child_command("csi://0", pixels, "drop").words)
        assert (
            f"nvvidconv ! video/x-raw,format={of_engine} ! videoconvert ! video/x-raw,format={given}" in words
        )


def test_caps_without_colorimetry_mean_what_was_asked_for() -> None:
    caps = b"video/x-raw, format=(string)NV12, width=(int)64, height=(int)48, framerate=(fraction)25/1\x00"
    wanted = Pixels("nv12", "bt709", "full")
    assert gdp.read_caps(caps).pixels(wanted) == wanted
    assert gdp.read_caps(caps.replace(b"NV12", b"BGR")).pixels(wanted) == BGR
    with pytest.raises(SourceError, match="expected frames as BGR, NV12, UYVY, the stream has I420"):
        gdp.read_caps(caps.replace(b"NV12", b"I420"))


@pytest.mark.parametrize("pixels", [NV12, UYVY, Pixels("nv12", "bt709", "full")], ids=str)
def test_the_test_pattern_comes_in_any_format_and_moves_its_chroma_with_its_luma(pixels: Pixels) -> None:
    uri = "synthetic:?size=48x64&fps=0&frames=9"
    source, plain = open_source(uri, pixels=pixels), open_source(uri)
    frame, bgr = np.empty(pixels.shape((48, 64)), np.uint8), np.empty((48, 64, 3), np.uint8)
    while source.read_into(frame) is not None:
        plain.read_into(bgr)
        np.testing.assert_array_equal(frame, to_pixel_format(bgr, pixels))
    assert source.describe()["pixels"] == str(pixels)


def test_a_test_pattern_of_odd_size_is_refused() -> None:
    with pytest.raises(UsageError, match=r"height and width must be even \(got 47x64\)"):
        open_source("synthetic:?size=47x64", pixels=NV12)


def test_a_file_stays_bgr(tmp_path: Path, video_maker: Callable[..., Path]) -> None:
    source = open_source(video_maker(tmp_path / "v.mp4", 3), pixels=NV12, realtime=True)
    assert pixels_of(source) == BGR
    assert read_one(source).shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("rate", "fps"), [("25/1", 25.0), ("0/1", None), ("1000/1", None), ("90000/1", None)]
)
def test_a_rate_that_no_camera_has_is_none(rate: str, fps: float | None) -> None:
    caps = gdp.write_caps((48, 64), None).replace(b"0/1000", rate.encode())
    assert gdp.read_caps(caps).fps == fps
