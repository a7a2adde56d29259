"""When the frames of a video are shown: at the times of the file, whatever its container tells of them."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import truth
import video_files
from hypothesis import given
from hypothesis import strategies as st
from video_files import Kind, Plan, make, number_in

from danet_runtime.sources import open_source
from danet_runtime.sources.video import VideoSource
from danet_runtime.sources.video_files.times import DisplayTimes


def shown(path: Path) -> tuple[VideoSource, list[int | None], list[float]]:
    """A video that was read to its end, the numbers in its frames and their times in milliseconds."""
    source = open_source(path)
    assert isinstance(source, VideoSource)
    numbers, times = [], []
    frame = np.empty((*source.size_hw, 3), np.uint8)
    while (info := source.read_into(frame)) is not None:
        numbers.append(number_in(frame))
        assert info.media_time_ms is not None
        times.append(info.media_time_ms)
    source.close()
    return source, numbers, times


def timed(
    path: Path, codec: str, options: dict[str, str], ticks: list[int], *, rate: int, tick: Fraction
) -> Path:
    """A video of pictures at these times, with this stated rate, whatever that says."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        (stream.height, stream.width), stream.pix_fmt = truth.SIZE_HW, "yuv420p"
        stream.codec_context.time_base = tick
        for number, time in enumerate(ticks):
            picture = np.ascontiguousarray(truth.draw(number, 10**15, truth.SIZE_HW))
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = time, tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("recorder.webm", "libvpx", video_files.VPX),
        ("recorder.mkv", "libx264", {**video_files.H264, "bf": "0"}),
    ],
)
def test_a_file_that_tells_no_rate_keeps_its_times_and_has_their_average(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    times_ms = [33 * number + 7 * number % 11 for number in range(30)]  # as browsers record
    path = timed(tmp_path / name, codec, options, times_ms, rate=1000, tick=Fraction(1, 1000))
    source, numbers, times = shown(path)
    assert source.is_variable
    assert source.fps == pytest.approx(1e3 * 29 / times_ms[-1])
    assert numbers == list(range(30))
    assert times == pytest.approx(times_ms, abs=1)


def test_places_of_an_avi_that_hold_no_frame_are_said_and_the_times_are_those_of_the_places(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    places = [0, 1, 2, 7, 8, 20, 21]
    path = timed(tmp_path / "dropped.avi", "mpeg4", {"b": "3000000"}, places, rate=25, tick=Fraction(1, 25))
    with caplog.at_level(logging.WARNING):
        source, numbers, times = shown(path)
    assert numbers == list(range(7))
    assert times == pytest.approx([40.0 * place for place in places])
    assert source.is_variable
    assert source.describe()["unfilled"] == 15
    assert "has 7 frames and 15 places without one" in caplog.text


def test_a_video_of_divx_that_packs_two_frames_into_one_place_has_all_of_them_in_time(tmp_path: Path) -> None:
    kind = Kind("packed.avi", "mpeg4", {"g": "12", "b": "3000000", "bf": "1"})
    stored: list[bytes] = []
    make(tmp_path, kind, Plan(12, packet=lambda _number, data: stored.append(data) or data))
    vop = [data[data.index(b"\0\0\1\xb6") + 4] >> 6 for data in stored]  # 0: I, 1: P, 2: B
    nothing = b"\0\0\1\xb6\x51\x60\x7f"  # a picture that is not coded
    for place in range(1, 11):
        if vop[place + 1] == 2:
            stored[place : place + 2] = [stored[place] + stored[place + 1], nothing]
    begin = stored[0].index(b"\0\0\1\xb6")
    stored[0] = stored[0][:begin] + b"\0\0\1\xb2DivX503b1393p" + stored[0][begin:]
    assert stored.count(nothing) == 5
    _, numbers, times = shown(make(tmp_path, kind, Plan(12, packet=lambda number, _data: stored[number])))
    assert numbers == list(range(12))
    assert times == pytest.approx([40.0 * number for number in range(12)])


@pytest.mark.parametrize("name", ["mpeg2.mpg", "mpeg2.ts"])
def test_recordings_that_were_joined_go_on_one_after_the_other(tmp_path: Path, name: str) -> None:
    whole = make(tmp_path, video_files.kind(name), Plan(12))
    joined = whole.with_stem("joined")
    joined.write_bytes(2 * whole.read_bytes())
    source = open_source(joined, damaged="mark")
    times = []
    frame = np.empty((*source.size_hw, 3), np.uint8)
    while len(times) < 24 and (info := source.read_into(frame)) is not None:
        times.append(info.media_time_ms)
    source.close()
    assert times == pytest.approx([40.0 * number for number in range(24)], abs=1)


def test_a_clock_of_a_transport_stream_that_is_set_anew_makes_no_pause(tmp_path: Path) -> None:
    times_s = [number / 25 + (3600 if number > 5 else 0) for number in range(12)]
    _, _, times = shown(make(tmp_path, video_files.kind("h264.ts"), Plan(12, times=times_s)))
    assert times == pytest.approx([40.0 * number for number in range(12)], abs=1)
    _, _, times = shown(make(tmp_path, video_files.kind("h264.mp4"), Plan(12, times=times_s)))
    assert times == pytest.approx([1e3 * time for time in times_s], abs=1)


@given(st.lists(st.floats(-1e5, 1e5), max_size=40), st.booleans(), st.sampled_from([None, 0.1, 25.0]))
def test_times_never_go_back(stated: list[float], may_leap: bool, fps: float | None) -> None:
    times = DisplayTimes(None, fps, may_leap=may_leap)
    found = [times.of(place, time) for place, time in enumerate(stated)]
    assert found == sorted(found)
