"""Videos as people store them: every frame is the truth's frame of that number, and what is lost is said."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image
import pytest
import truth
import video_files
from picture_kinds import saved, upright, with_exif
from video_files import KINDS, Kind, Plan, kind, make, number_in, spoil

from danet_runtime.errors import SourceDamagedError, SourceError, SourceTruncatedError
from danet_runtime.pictures.header import MOST_PIXELS
from danet_runtime.sources import FrameInfo, open_source
from danet_runtime.sources.video import VideoSource
from danet_runtime.sources.video_files.ends import missing_bytes

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


def read_all(source: Any) -> tuple[list[np.ndarray], list[FrameInfo], SourceError | None]:
    """Frames, what is said of them, and the error at the end, if any; every buffer is poisoned before."""
    frames, infos, error = [], [], None
    try:
        while True:
            buffer = np.full((*source.size_hw, 3), len(frames) % 256, np.uint8)
            info = source.read_into(buffer)
            if info is None:
                break
            frames.append(buffer)
            infos.append(info)
    except SourceError as caught:
        error = caught
    source.close()
    return frames, infos, error


def numbers(frames: list[np.ndarray]) -> list[int | None]:
    return [number_in(frame) for frame in frames]


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
"""Of red and blue, by FFmpeg's number of the color space (ITU-R BT.709, BT.601, BT.2020); 2: no tag."""


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


# Damage. Which places and ways a decoder sees was tried: of HEVC, VP8 and VP9 hardly any, see VideoSource.


@pytest.mark.parametrize("way", ["flip", "cut", "noise"])
@pytest.mark.parametrize(
    "name", ["h264.mp4", "open_gop.mkv", "fields.ts", "mpeg2.ts", "mpeg4.avi", "mjpeg.avi", "prores.mov"]
)
def test_damage_midway_is_skipped_and_counted_and_all_else_is_the_truth_of_its_place(
    tmp_path: Path, name: str, way: str
) -> None:
    if way == "flip" and name in ("prores.mov", "mpeg2.ts"):
        pytest.skip("a flipped bit may be another coefficient, which nothing tells")
    source = open_source(make(tmp_path, kind(name), Plan(packet=spoil({15, 21}, way))))
    frames, infos, error = read_all(source)
    assert isinstance(error, SourceDamagedError)
    assert [info.id for info in infos] == numbers(frames)
    left_out = sum(source.damage.counts.values())
    assert len(frames) + left_out == 40
    assert 2 <= left_out <= 12 + 4  # at most up to the next key frame
    assert infos[-1].id == 39
    assert f"{left_out} of its frames were left out" in str(error)


def test_pictures_that_are_shown_before_the_damaged_one_they_build_on_are_held_back(tmp_path: Path) -> None:
    # Decoded in the order 12, 15, 13, 14: the two are shown before 15, and would be out when it fails.
    source = open_source(make(tmp_path, kind("h264.mp4"), Plan(packet=spoil({13}, "noise"))))
    _, infos, error = read_all(source)
    assert isinstance(error, SourceDamagedError)
    assert not {13, 14, 15} & {info.id for info in infos}
    assert 12 in {info.id for info in infos}


@pytest.mark.parametrize("name", ["h264.mp4", "open_gop.mkv", "fields.ts", "intra_refresh.mp4"])
@pytest.mark.parametrize("missing", [{5}, {14}, {16}, {20, 21, 22}, {12}])
def test_what_builds_on_a_picture_of_h264_that_is_missing_altogether_is_never_delivered(
    tmp_path: Path, name: str, missing: set[int]
) -> None:
    source = open_source(make(tmp_path, _h264(name), Plan(packet=spoil(missing, "drop"))))
    frames, _, error = read_all(source)
    shown = numbers(frames)
    assert None not in shown
    assert shown == sorted(set(shown))
    assert (39 if name != "intra_refresh.mp4" else 0) in shown  # it goes on behind the next key frame
    # Pictures of which none is built, and those that open a group, may be missing without a trace.
    assert isinstance(error, SourceDamagedError) or len(shown) == 40 - len(missing)


def _h264(name: str) -> Kind:
    if name == "intra_refresh.mp4":
        return Kind(name, "libx264", {**video_files.H264, "bf": "0", "intra-refresh": "1"})
    return kind(name)


@pytest.mark.parametrize("name", ["h264.mp4", "h264.ts", "slices.ts", "open_gop.mkv", "hevc.mp4"])
@pytest.mark.parametrize("place", [15, 24])
def test_a_hole_of_zeros_is_damage_also_where_the_decoder_takes_it_for_a_picture(
    tmp_path: Path, name: str, place: int
) -> None:
    sliced = Kind("slices.ts", "libx264", {**video_files.H264, "slices": "4"})
    one = sliced if name == "slices.ts" else kind(name)
    frames, _, error = read_all(open_source(make(tmp_path, one, Plan(packet=spoil({place}, "zero")))))
    assert isinstance(error, SourceDamagedError)
    assert None not in numbers(frames)
    assert len(frames) >= 26


@pytest.mark.parametrize("name", ["h264.mp4", "h264.ts", "open_gop.mkv", "hevc.mp4", "hevc.ts"])
def test_zeros_in_a_cameras_own_messages_are_no_damage(tmp_path: Path, name: str) -> None:
    payload = bytes(range(16)) + b"GPS" + bytes(20) + b"\x07" + bytes(8) + b"\x09"
    header = b"\x4e\x01\x05" if name.startswith("hevc") else b"\x06\x05"
    message = b"\0\0\0\1" + header + bytes([len(payload)]) + payload + b"\x80"
    path = make(tmp_path, kind(name), Plan(packet=lambda _number, data: message + data))
    frames, _, error = read_all(open_source(path))
    assert error is None
    assert numbers(frames) == list(range(40))


def spoilt_in_place(path: Path, place: int, way: str) -> None:
    """Overwrite the packet of this number in the file, as a bad disk does."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    begin, size = packets[place].pos, packets[place].size
    if way == "all":
        content[begin : begin + size] = bytes(size)
    elif way == "zero":
        content[begin + size // 4 : begin + size // 2] = bytes(size // 2 - size // 4)
    else:
        content[begin + size // 2] ^= 1
    path.write_bytes(content)


AV1 = Kind("groups.mp4", "libsvtav1", {"preset": "8", "svtav1-params": "lossless=1:keyint=12"})
FFV1 = Kind("checked.mkv", "ffv1", {"level": "3", "slicecrc": "1", "slices": "4", "g": "12"})


@pytest.mark.parametrize("place", [15, 20, 31])
@pytest.mark.parametrize(
    ("one", "way"),
    [(AV1, "all"), (FFV1, "zero"), (FFV1, "flip")],
    ids=lambda value: str(value),
)
def test_damage_that_the_decoder_keeps_to_itself_is_found_too(
    tmp_path: Path, one: Kind, way: str, place: int
) -> None:
    path = make(tmp_path, one)
    spoilt_in_place(path, place, way)
    frames, infos, error = read_all(source := open_source(path))
    assert isinstance(error, SourceDamagedError)
    assert numbers(frames) == [info.id for info in infos]
    assert len(frames) + sum(source.damage.counts.values()) == 40
    assert {39, place - 1} <= {info.id for info in infos} or place == 31
    assert place not in {info.id for info in infos}


def packets_of(transport_stream: bytes, place: int) -> list[int]:
    """Where those begin that hold more than the beginning of the picture of this number."""
    video = [at for at in range(0, len(transport_stream), 188) if transport_stream[at + 1] & 0x1F == 1]
    video = [at for at in video if transport_stream[at + 2] == 0]
    begins = [at for at in video if transport_stream[at + 1] & 0x40]
    following = [*begins, len(transport_stream)][place + 1]
    return [at for at in video if begins[place] < at < following]


@pytest.mark.parametrize("name", ["hevc.ts", "h264.ts", "mpeg2.ts", "hevc.m2ts"])
@pytest.mark.parametrize("large", [0, 1])
def test_a_packet_that_a_transport_stream_lost_spoils_no_frame_that_comes(
    tmp_path: Path, name: str, large: int
) -> None:
    one = kind(name.replace("m2ts", "ts"))
    path = make(tmp_path, one)
    content = path.read_bytes()
    key_frames = [place for place in range(40) if len(packets_of(content, place)) >= 4]
    for at in packets_of(content, key_frames[large])[1:3]:
        parts = [content[:at], content[at + 188 :]]
        if name.endswith("m2ts"):
            parts = [b"".join(b"\0\0\0\0" + p[i : i + 188] for i in range(0, len(p), 188)) for p in parts]
        path.write_bytes(b"".join(parts))
        frames, _, error = read_all(open_source(path))
        assert isinstance(error, SourceDamagedError)
        assert None not in numbers(frames)
        assert len(frames) >= 16
    path.write_bytes(content)
    assert read_all(open_source(path))[2] is None


@pytest.mark.parametrize("name", ["h264.mp4", "open_gop.mkv", "mpeg4.mp4"])
def test_two_videos_that_are_read_at_once_give_what_each_gives_alone(tmp_path: Path, name: str) -> None:
    one, paths = kind(name), []
    for place, way in ((13, "noise"), (7, "zero")):
        paths.append(make(tmp_path, replace(one, name=f"{place}_{name}"), Plan(packet=spoil({place}, way))))
    alone = [numbers(read_all(open_source(path))[0]) for path in paths]
    assert None not in alone[0] + alone[1]
    sources, at_once = [open_source(path) for path in paths], [[], []]  # type: ignore[var-annotated]
    for _ in range(41):
        for source, came in zip(sources, at_once, strict=True):
            buffer = np.zeros((*source.size_hw, 3), np.uint8)
            with contextlib.suppress(SourceDamagedError):
                if source.read_into(buffer) is not None:
                    came.append(number_in(buffer))
    assert at_once == alone


def test_a_picture_of_h265_of_which_nothing_comes_is_counted(tmp_path: Path) -> None:
    path = make(tmp_path, kind("hevc.mp4"), Plan(packet=spoil({20, 21}, "noise")))
    frames, _, error = read_all(source := open_source(path))
    assert len(frames) < 40
    assert isinstance(error, SourceDamagedError)
    assert len(frames) + sum(source.damage.counts.values()) == 40


def test_streams_that_begin_on_the_way_end_nothing(tmp_path: Path) -> None:
    # So far from the beginning and from the end that FFmpeg does not see them as it opens the file.
    long, noise = io.BytesIO(), np.random.default_rng(0).integers(0, 255, (512, 1024, 3), np.uint8)
    with av.open(long, "w", format="mpegts") as container:
        options = {"qmin": "1", "qmax": "1", "g": "1", "b": "100000000"}
        stream = container.add_stream("mpeg2video", rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 512, 1024, "yuv420p"
        for _ in range(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="bgr24")))
        container.mux(stream.encode(None))
    sounds = io.BytesIO()
    with av.open(sounds, "w", format="mpegts", options={"tables_version": "7"}) as container:
        for stream in [container.add_stream("mp2", rate=44100) for _ in range(12)]:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), "s16", "mono")
            silence.sample_rate, silence.pts = 44100, 0
            container.mux(stream.encode(silence))
            container.mux(stream.encode(None))
    path = tmp_path / "it.ts"
    path.write_bytes(long.getvalue() + sounds.getvalue() + long.getvalue())
    frames, _, _ = read_all(open_source(path))
    assert len(frames) >= 22


def test_damaged_frames_come_marked_where_that_is_asked_for(tmp_path: Path) -> None:
    path = make(tmp_path, kind("h264.ts"), Plan(packet=spoil({15}, "noise")))
    frames, infos, error = read_all(source := open_source(path, damaged="mark"))
    assert isinstance(error, SourceDamagedError)
    assert [info.id for info in infos] == list(range(40))
    for frame, info in zip(frames, infos, strict=True):
        assert info.damage is not None or number_in(frame) == info.id
    assert sum(info.damage is not None for info in infos) == sum(source.damage.counts.values()) > 0


def test_the_file_ends_at_the_first_damaged_frame_where_that_is_asked_for(tmp_path: Path) -> None:
    path = make(tmp_path, kind("mpeg4.avi"), Plan(packet=spoil({15}, "noise")))
    frames, _, error = read_all(open_source(path, damaged="stop"))
    assert isinstance(error, SourceDamagedError)
    assert "damaged at frame 15 (decoder)" in str(error)
    assert numbers(frames) == list(range(15))


@pytest.mark.parametrize(
    "name", ["h264.ts", "fields.ts", "mpeg2.ts", "h264.mp4", "mpeg4.avi", "open_gop.mkv"]
)
def test_frames_before_the_first_key_frame_are_counted_and_never_delivered(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = make(tmp_path, kind(name), Plan(packet=spoil(set(range(5)), "drop")))
    frames, infos, error = read_all(source := open_source(path))
    assert error is None
    shown = numbers(frames)
    assert shown == list(range(12, 40))
    assert set(source.damage.counts) == {"no key frame yet"}
    assert infos[0].id == source.damage.counts["no key frame yet"] > 0
    assert "begins between two key frames" in caplog.text


@pytest.mark.parametrize("name", ["mpeg4.avi", "mjpeg.avi", "open_gop.mkv", "vp9.webm", "fragments.mp4"])
@pytest.mark.parametrize("share", [0.35, 0.8])
def test_a_file_cut_off_at_the_end_gives_what_is_left_and_says_so(
    tmp_path: Path, name: str, share: float
) -> None:
    path = make(tmp_path, kind(name))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    frames, infos, error = read_all(open_source(path))
    assert isinstance(error, SourceTruncatedError)
    assert numbers(frames) == list(range(len(frames))) == [info.id for info in infos]
    assert 0 < len(frames) < 40
    assert f"ended after {len(frames)} " in str(error)


M2TS = Kind("h264.m2ts", "libx264", video_files.H264, muxing={"mpegts_m2ts_mode": "1"}, format="mpegts")
GIF = Kind("grey.gif", "gif", {}, "gray")


@pytest.mark.parametrize(
    "one", [kind("h264.ts"), kind("hevc.ts"), kind("mpeg2.ts"), M2TS, GIF], ids=lambda one: one.name
)
@pytest.mark.parametrize("share", [0.5, 0.97])
def test_a_transport_stream_or_gif_that_is_cut_off_says_so(tmp_path: Path, one: Kind, share: float) -> None:
    path = make(tmp_path, one)
    whole = path.read_bytes()
    assert read_all(open_source(path))[2] is None
    for behind in (b"", bytes(1000)):
        path.write_bytes(whole + behind)
        assert missing_bytes(path) == 0
    size = int(len(whole) * share)
    path.write_bytes(whole[: size + (size % 188 == 0 or size % 192 == 0)])
    frames, _, error = read_all(open_source(path))
    assert isinstance(error, SourceTruncatedError)
    assert f"ended after {len(frames)} " in str(error)
    assert "bytes are missing" in str(error)


@pytest.mark.parametrize("suffix", ["mjpeg", "mjpg", "MJPG"])
@pytest.mark.parametrize("before", [b"", b"\0\x11\x22"])
def test_a_few_jpegs_in_a_row_are_a_video_by_their_suffix(tmp_path: Path, suffix: str, before: bytes) -> None:
    drawn = [truth.draw(number) for number in range(5)]
    jpegs = b"".join(saved(PIL.Image.fromarray(picture), "JPEG", quality=95) for picture in drawn)
    (tmp_path / f"camera.{suffix}").write_bytes(before + jpegs)
    frames, _, error = read_all(open_source(tmp_path / f"camera.{suffix}"))
    assert error is None
    assert numbers(frames) == list(range(5))


@pytest.mark.parametrize(
    ("name", "head"),
    [("a.pdf", b"%PDF-1.4\n"), ("photo.raf", b"FUJIFILMCCD-RAW 0201"), ("a.docx", b"PK\3\4")],
)
def test_a_file_with_a_picture_in_it_is_no_video_of_it(tmp_path: Path, name: str, head: bytes) -> None:
    jpeg = saved(PIL.Image.fromarray(truth.draw(0)), "JPEG")
    (tmp_path / name).write_bytes(head + bytes(60) + jpeg + bytes(range(200)) * 99)
    with pytest.raises(SourceError, match=rf"{name} cannot be opened as a video: there are JPEG pictures"):
        open_source(tmp_path / name)


def test_a_cut_off_mp4_with_its_index_in_front_says_how_many_frames_are_missing(tmp_path: Path) -> None:
    path = make(tmp_path, Kind("front.mp4", "libx264", video_files.H264, muxing={"movflags": "faststart"}))
    path.write_bytes(path.read_bytes()[:-3000])
    frames, _, error = read_all(open_source(path))
    assert isinstance(error, SourceTruncatedError)
    assert f"ended after {len(frames)} of 40 frames" in str(error)
    assert "bytes are missing" in str(error)
    assert numbers(frames) == list(range(len(frames)))


def test_bytes_behind_the_end_of_a_video_are_not_missed(tmp_path: Path) -> None:
    for name in ("h264.mp4", "mpeg4.avi", "open_gop.mkv"):
        path = make(tmp_path, kind(name), Plan(5))
        path.write_bytes(path.read_bytes() + b"\xff" * 999)
        frames, _, error = read_all(open_source(path))
        assert (len(frames), error) == (5, None)


# Files from outside are not trusted.


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {}\n",
        "v=0\nc=IN IP4 127.0.0.1\nm=video 5000 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        '<?xml version="1.0"?><MPD type="static" xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><BaseURL>{}'
        "</BaseURL></Period></MPD>",
        ";FFMETADATA1\nmajor_brand=isom\n",
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "m3u8", "ffconcat"])
def test_a_list_that_names_other_files_is_no_video(tmp_path: Path, text: str, suffix: str) -> None:
    other = make(tmp_path, kind("mpeg4.mp4"), Plan(3))
    path = tmp_path / f"list.{suffix}"
    path.write_text(text.format(other))
    with pytest.raises(SourceError, match=r"list\.\w+ cannot be opened as a video"):
        open_source(path)


@pytest.mark.parametrize("size", [(60000, 60000), (9472, 9472), (16, 17000)])
def test_absurd_sizes_are_refused_before_memory_is_taken(tmp_path: Path, size: tuple[int, int]) -> None:
    path = make(tmp_path, Kind("raw.avi", "rawvideo"), Plan(3))
    data = path.read_bytes()
    height, width = size
    small = (256).to_bytes(4, "little") + (128).to_bytes(4, "little")
    assert small in data
    path.write_bytes(data.replace(small, width.to_bytes(4, "little") + height.to_bytes(4, "little")))
    with pytest.raises(
        SourceError,
        match=f"states frames of {height}x{width}|states no size, or one of more than {MOST_PIXELS}",
    ):
        open_source(path)


def test_a_file_of_sound_alone_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        video_files._add_sound(container, container.add_stream("aac", rate=44100), 1.0)
    with pytest.raises(SourceError, match=r"sound\.mp4 cannot be opened as a video: it holds none"):
        open_source(path)


def test_a_file_no_frame_of_which_decodes_names_its_codec(tmp_path: Path) -> None:
    path = make(tmp_path, kind("mpeg4.avi"), Plan(6, packet=spoil(set(range(6)), "noise")))
    with pytest.raises(SourceError, match=r"gives no frame: mpeg4 video in avi; its frames are damaged"):
        open_source(path)


@pytest.mark.parametrize("name", ["a:b.mp4", "concat:x.mp4", "h\udce9.mp4", "with space %d.mp4"])
def test_names_are_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    make(tmp_path, kind("mpeg4.mp4"), Plan(3)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    frames, _, error = read_all(VideoSource(name))
    assert (numbers(frames), error) == ([0, 1, 2], None)


def test_tags_in_latin_1_do_not_matter(tmp_path: Path) -> None:
    path = make(tmp_path, kind("mpeg4.avi"), Plan(3, tags={"title": "xxyyzz"}))
    path.write_bytes(path.read_bytes().replace(b"xxyyzz", "Stra\xdfe".encode("latin-1")))
    assert numbers(read_all(open_source(path))[0]) == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_a_file_of_flipped_bytes_ends_in_frames_or_in_an_error_of_ours(tmp_path: Path, seed: int) -> None:
    names = (
        "h264.mp4",
        "mpeg4.avi",
        "open_gop.mkv",
        "mpeg2.ts",
        "vp9.webm",
        "h264.flv",
        "mpeg2.mpg",
        "mjpeg.mov",
    )
    path = make(tmp_path, kind(names[seed % len(names)]), Plan(8))
    data, dice = bytearray(path.read_bytes()), np.random.default_rng(seed)
    for place in dice.integers(0, len(data), 1 + seed):
        data[place] = dice.integers(256)
    path.write_bytes(data)
    try:
        source = open_source(path)
    except SourceError:
        return
    frames, _, _ = read_all(source)
    assert len(frames) <= 16


def test_the_rate_of_a_large_file_is_read_without_counting_its_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("danet_runtime.sources.video_files.container.SCANNED_BYTES", 1000)
    source = open_source(make(tmp_path, kind("h264.mp4")))
    assert (source.count, source.describe()["count_is_exact"]) == (40, False)
    assert len(read_all(source)[0]) == 40


def test_sizes_that_change_on_the_way_are_an_error(tmp_path: Path) -> None:
    both = io.BytesIO()
    for size in ((128, 256), (64, 128)):
        part = make(tmp_path, Kind("part.ts", "mpeg2video", {"g": "4"}, size_hw=size), Plan(5))
        both.write(part.read_bytes())
    (tmp_path / "both.ts").write_bytes(both.getvalue())
    frames, _, error = read_all(open_source(tmp_path / "both.ts"))
    assert numbers(frames) == list(range(len(frames)))
    assert len(frames) >= 3
    assert "must keep one size" in str(error)


def test_a_closed_video_can_still_be_described_for_a_report(tmp_path: Path) -> None:
    source = open_source(make(tmp_path, kind("h264.mp4"), Plan(3)))
    before = source.describe()
    source.close()
    source.close()
    assert source.describe() == before
    with pytest.raises(SourceError, match="closed"):
        source.read_into(np.empty((128, 256, 3), np.uint8))
