"""Videos as people store them: every frame is the truth's frame of that number, and what is lost is said."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import video_files
from picture_kinds import upright, with_exif
from video_files import KINDS, Kind, Plan, kind, make
from video_reading import numbers, read_all

from danet_runtime.errors import SourceError
from danet_runtime.sources import open_source
from danet_runtime.sources.video import VideoSource

FAST = (
    "h264.mp4",
    "open_gop.mkv",
    "fields.ts",
    "mpeg2_fields.mpg",
    "mpeg4.avi",
    "mjpeg.avi",
    "h264.avi",
    "animation.mov",
    "vp9.webm",
    "av1.mp4",
    "h264.avi",
    "cineform.mov",
    "animation.mov",
    "tiff.mov",
)


@pytest.mark.parametrize(
    "one",
    [pytest.param(one, marks=() if one.name in FAST else pytest.mark.slow, id=one.name) for one in KINDS],
)
def test_every_frame_is_the_truth_of_its_number_at_its_time(one: Kind, tmp_path: Path) -> None:
    source = open_source(make(tmp_path, one))
    assert isinstance(source, VideoSource)
    assert (source.count, source.fps, source.size_hw) == (40, 25.0, one.size_hw)
    assert source.describe()["fields"] == ("woven" if one.is_interlaced else None)
    assert not source.is_variable
    frames, infos, error = read_all(source)
    assert error is None
    assert numbers(frames) == list(range(40)) == [info.id for info in infos]
    assert [info.media_time_ms for info in infos] == pytest.approx([40.0 * n for n in range(40)], abs=1)
    assert not source.damage.counts


_MARKS = {(0, 0): (0, 0, 220), (0, -1): (0, 220, 0), (-1, 0): (220, 0, 0), (-1, -1): (220, 220, 220)}
"""BGR of each corner of an upright picture: red, green; blue, white."""


def with_corner_marks(_number: int, kind: Kind) -> np.ndarray:
    height, width = kind.size_hw
    shown = np.full((height, width, 3), 60, np.uint8)
    for (row, column), color in _MARKS.items():
        shown[:: -1 if row else 1, :: -1 if column else 1][:48, :48] = color
    return shown


def corners(frame: np.ndarray) -> list[tuple[int, ...]]:
    """The color of each corner, every channel dark or bright."""
    inner = frame[8:-8, 8:-8]
    return [tuple(220 * (inner[place] > 140)) for place in _MARKS]


@pytest.mark.parametrize(
    "one",
    [pytest.param(one, marks=() if one.name in FAST else pytest.mark.slow, id=one.name) for one in KINDS],
)
def test_every_corner_stands_where_it_was_drawn_in_its_color(one: Kind, tmp_path: Path) -> None:
    frames, _, error = read_all(open_source(make(tmp_path, one, Plan(4), with_corner_marks)))
    assert error is None
    assert [corners(frame) for frame in frames] == [list(_MARKS.values())] * 4


@pytest.mark.parametrize("turned", [90, 180, 270])
@pytest.mark.parametrize(
    "name",
    [
        "h264.mov",
        pytest.param("fields.mp4", marks=pytest.mark.slow),
        pytest.param("hevc.mp4", marks=pytest.mark.slow),
        pytest.param("mpeg4.mp4", marks=pytest.mark.slow),
        pytest.param("mjpeg.mov", marks=pytest.mark.slow),
        pytest.param("av1.mp4", marks=pytest.mark.slow),
        pytest.param("prores.mov", marks=pytest.mark.slow),
        pytest.param("fragments.mp4", marks=pytest.mark.slow),
    ],
)
def test_what_was_recorded_turned_is_upright_whatever_its_codec(
    tmp_path: Path, name: str, turned: int
) -> None:
    def recorded(number: int, one: Kind) -> np.ndarray:
        size_hw = one.size_hw if turned == 180 else one.size_hw[::-1]
        upright = with_corner_marks(number, replace(one, size_hw=size_hw))
        return np.rot90(upright, -turned // 90)  # a player turns anticlockwise by so much

    path = make(tmp_path, kind(name), Plan(4, turned=turned), recorded)
    frames, _, error = read_all(open_source(path))
    assert error is None
    assert [corners(frame) for frame in frames] == [list(_MARKS.values())] * 4


def test_interlaced_video_is_said_to_be_woven(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        open_source(make(tmp_path, kind("fields.mp4"))).close()
    assert "fields woven together" in caplog.text


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_a_turned_frame_is_turned_as_players_show_it(tmp_path: Path, turned: int, mirrored: bool) -> None:
    plan = Plan(3, turned=turned, mirrored=mirrored, aspect=Fraction(4, 3))
    path = make(tmp_path, kind("h264.mp4"), plan)
    stored, (shown, _, _) = _decoded(path), read_all(source := VideoSource(path))
    assert len(shown) == 3
    assert source.sample_aspect_ratio == (Fraction(3, 4) if turned % 180 else Fraction(4, 3))
    for frame, picture in zip(stored, shown, strict=True):
        # FFmpeg: the picture is turned anticlockwise, then mirrored.
        upright = np.rot90(frame, turned // 90)
        np.testing.assert_array_equal(upright[:, ::-1] if mirrored else upright, picture)


def _decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [
            frame.to_ndarray(format="bgr24", interpolation="BICUBIC") for frame in container.decode(video=0)
        ]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_motion_jpeg_with_exif_in_its_pictures_is_turned_by_it(tmp_path: Path, orientation: int) -> None:
    stored = np.zeros((64, 96, 3), np.uint8)
    stored[:24, :40] = 200
    path = tmp_path / "exif.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuvj444p"
        for number in range(3):
            packet = av.Packet(with_exif(stored, "JPEG", orientation))
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 25), stream, True
            container.mux(packet)
    frames, _, error = read_all(open_source(path))
    assert error is None
    assert len(frames) == 3
    assert np.abs(frames[0].astype(int) - upright(stored, orientation)).mean() < 2


@pytest.mark.parametrize("rate", ["1/3600", "1/90", "1000"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_rates_of_time_lapses_and_high_speed_cameras_are_read(tmp_path: Path, rate: str, suffix: str) -> None:
    path = tmp_path / f"it.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate), options=dict(video_files.H264))
        stream.height, stream.width, stream.pix_fmt = 128, 256, "yuv420p"
        for number in range(4):
            picture = video_files.picture(number, kind("h264.mp4"))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))
    source = open_source(path)
    assert source.fps == pytest.approx(float(Fraction(rate)), rel=0.01)
    frames, infos, error = read_all(source)
    assert error is None
    assert numbers(frames) == list(range(4))
    expected = [number * 1000 / Fraction(rate) for number in range(4)]
    assert [info.media_time_ms for info in infos] == pytest.approx(list(map(float, expected)), abs=1)


def test_a_turn_by_no_multiple_of_90_degrees_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames, _, _ = read_all(open_source(make(tmp_path, kind("h264.mp4"), Plan(3, turned=30))))
    assert numbers(frames) == [0, 1, 2]
    assert "no multiple of 90 degrees" in caplog.text


def test_what_an_edit_list_hides_does_not_come_and_is_not_missed(tmp_path: Path) -> None:
    source = open_source(make(tmp_path, kind("h264.mp4"), Plan(hidden_s=18 / 25)))
    assert source.count == 22
    frames, infos, error = read_all(source)
    assert error is None
    assert numbers(frames) == list(range(18, 40))
    assert [info.id for info in infos] == list(range(22))
    assert infos[0].media_time_ms == 0


def test_an_edit_list_that_hides_all_is_named(tmp_path: Path) -> None:
    path = make(tmp_path, kind("h264.mp4"), Plan(hidden_s=0.4))
    content = path.read_bytes()
    at = content.index(b"elst") + 12  # of its one entry: for how long, then from where on
    path.write_bytes(content[:at] + bytes(4) + content[at + 4 :])
    with pytest.raises(SourceError, match=r"gives no frame.*an edit list hides its frames"):
        open_source(path)


@pytest.mark.parametrize("name", ["h264.mp4", "open_gop.mkv", "h264.ts"])
def test_a_file_that_does_not_begin_at_zero_has_times_from_its_beginning(tmp_path: Path, name: str) -> None:
    times = [5 + number / 25 for number in range(40)]
    frames, infos, error = read_all(open_source(make(tmp_path, kind(name), Plan(times=times))))
    assert error is None
    assert numbers(frames) == list(range(40))
    assert [info.media_time_ms for info in infos] == pytest.approx([40.0 * n for n in range(40)], abs=1)


@pytest.mark.parametrize("name", ["h264.mp4", "open_gop.mkv", "mpeg4.avi", "vp9.webm"])
def test_a_varying_rate_keeps_the_times_of_the_file(tmp_path: Path, name: str) -> None:
    times = [n / 25 + (1.6 if n > 10 else 0) + (1.2 if n > 30 else 0) for n in range(40)]
    source = open_source(make(tmp_path, kind(name), Plan(times=times)))
    assert source.count == 40
    assert source.is_variable
    frames, infos, error = read_all(source)
    assert error is None
    assert numbers(frames) == list(range(40))
    assert [info.media_time_ms for info in infos] == pytest.approx([1e3 * time for time in times], abs=1)


@pytest.mark.parametrize("name", ["h264.mp4", "open_gop.mkv", "h264.ts", "h264.flv"])
def test_sound_that_outlasts_the_picture_makes_no_frames(tmp_path: Path, name: str) -> None:
    source = open_source(make(tmp_path, kind(name), Plan(sound_s=6.0)))
    assert source.count == 40
    frames, _, error = read_all(source)
    assert error is None
    assert numbers(frames) == list(range(40))


_MATRICES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593), 2: (0.299, 0.114)}
"""Weights of red and blue by FFmpeg's color space number (ITU-R BT.709, BT.601, BT.2020); 2: no tag."""


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("space", list(_MATRICES))
def test_colors_are_those_of_the_tags_by_the_standards_own_formula(
    tmp_path: Path, space: int, full: bool
) -> None:
    patches = [(180, 90, 200), (60, 128, 128), (120, 160, 70), (200, 110, 140), (90, 140, 150)]

    def tag(context: Any) -> None:
        context.colorspace, context.color_range = space, 2 if full else 1

    path = _flat_video(tmp_path / "flat.mkv", patches, tag)
    frames, _, _ = read_all(open_source(path))
    red, blue = _MATRICES[space]
    for (y, cb, cr), frame in zip(patches, frames, strict=True):
        luma, scale = (y / 255, 255) if full else ((y - 16) / 219, 224)
        r = luma + 2 * (1 - red) * (cr - 128) / scale
        b = luma + 2 * (1 - blue) * (cb - 128) / scale
        g = (luma - red * r - blue * b) / (1 - red - blue)
        expected = np.clip(np.array([b, g, r]) * 255, 0, 255)
        assert np.abs(frame.reshape(-1, 3) - expected).max() <= 3, (y, cb, cr)


def _flat_video(path: Path, patches: list[tuple[int, int, int]], tag: Callable[[Any], None]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        tag(stream.codec_context)
        for y, cb, cr in patches:
            planes = np.concatenate([np.full(64 * 48, y), np.full(32 * 24, cb), np.full(32 * 24, cr)])
            frame = av.VideoFrame.from_ndarray(planes.astype(np.uint8).reshape(72, 64), format="yuv420p")
            tag(frame)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.slow
def test_an_encoder_that_takes_the_machine_for_itself_gives_it_back(tmp_path: Path) -> None:
    before = os.sched_getscheduler(0)
    make(tmp_path, kind("av1.mp4"))
    threads = [int(thread.name) for thread in Path("/proc/self/task").iterdir()]
    assert {os.sched_getscheduler(thread) for thread in threads} == {before}
