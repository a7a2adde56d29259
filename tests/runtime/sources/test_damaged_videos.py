"""Videos that are damaged, cut off or begin midway: what is lost is skipped, counted and said."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest
import truth
import video_files
from picture_kinds import saved
from video_files import Kind, Plan, kind, make, number_in, spoil
from video_reading import numbers, read_all

from danet_runtime.errors import SourceDamagedError, SourceError, SourceTruncatedError
from danet_runtime.sources import open_source
from danet_runtime.sources.video_files.ends import missing_bytes

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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["h264.mp4", "open_gop.mkv", "fields.ts", "intra_refresh.mp4"])
@pytest.mark.parametrize(
    "missing",
    [{5}, {12}, {20, 21, 22}, *(pytest.param(one, marks=pytest.mark.slow) for one in ({14}, {16}))],
)
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
