"""Videos that nobody vouches for: lists of other files, absurd sizes, flipped bytes, odd names."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
import video_files
from video_files import Kind, Plan, kind, make, spoil
from video_reading import numbers, read_all

from danet_runtime.errors import SourceError
from danet_runtime.pictures.header import MOST_PIXELS
from danet_runtime.sources import open_source
from danet_runtime.sources.video import VideoSource


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
