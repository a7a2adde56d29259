"""What FFmpeg decodes of damaged pictures and streams: all that is called good is as it was drawn."""

from __future__ import annotations

import io
import itertools
import random
from collections import Counter
from pathlib import Path

import av
import cv2
import pytest
import truth
from http_camera import true_video
from video_files import Plan, kind, make, spoil

from danet_runtime.pictures.header import MOST_PIXELS
from danet_runtime.sources.network.live_decoding import JpegDecoder, LiveDecoder

FRAMES, GOP, PACKET = 100, 25, 188

CODECS = {
    "H.264": ("libx264", {}),
    "H.264 with open GOPs": ("libx264", {"bf": "2", "preset": "fast", "x264-params": "open-gop=1"}),
    "H.264 that refreshes by columns": ("libx264", {"x264-params": "intra-refresh=1"}),
    "H.265": ("libx265", {"x265-params": "log-level=none:keyint=25:open-gop=1"}),
}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(value, id=name, marks=[] if name == "H.264" else pytest.mark.slow)
        for name, value in CODECS.items()
    ],
)
def video(request: pytest.FixtureRequest) -> list[bytes]:
    """A stream of the truth, in packets of MPEG-TS."""
    codec, options = request.param
    data = true_video(FRAMES, GOP, codec, **options)
    return [data[at : at + PACKET] for at in range(0, len(data), PACKET)]


def decoded(data: bytes, container_format: str = "mpegts") -> tuple[list[int | None], Counter[str]]:
    """The numbers of the frames that are called good, and what was said of the others."""
    good: list[int | None] = []
    damaged: Counter[str] = Counter()
    with av.open(io.BytesIO(data), format=container_format) as container:
        stream = container.streams.video[0]
        decoder = LiveDecoder(av, stream)
        for packet in container.demux(stream):
            frames, left_out = decoder.decode(packet)
            damaged.update(left_out)
            for frame, damage in frames:
                if damage is None:
                    found = truth.read(frame.to_ndarray(format="bgr24"))
                    good.append(None if found is None else found.number)
                else:
                    damaged[damage] += 1
    return good, damaged


def test_a_whole_stream_is_good_from_its_first_frame_to_its_last(video: list[bytes]) -> None:
    good, damaged = decoded(b"".join(video))
    assert good == list(range(good[0] or 0, FRAMES))
    assert good[0] in (0, GOP)  # H.265 in MPEG-TS: FFmpeg loses the mark of a first packet that is corrupt
    assert set(damaged) <= {"no key frame yet"}


def test_a_stream_that_is_joined_between_key_frames_is_good_from_the_next_one_on(video: list[bytes]) -> None:
    for place in (0.3, 0.55):
        good, damaged = decoded(b"".join(video[int(len(video) * place) :]))
        assert None not in good
        assert good == list(range(good[0] or 0, FRAMES))
        assert damaged["no key frame yet"] > 0
        assert (good[0] or 0) - FRAMES * place < 3 * GOP  # one GOP, and another that refreshes by columns


@pytest.mark.parametrize("loss", [0.002, 0.02])
def test_what_is_built_on_lost_packets_is_not_good(video: list[bytes], loss: float) -> None:
    lost = Counter()  # type: Counter[str]
    for seed in range(3):
        chosen = random.Random(seed)
        good, damaged = decoded(b"".join(p for n, p in enumerate(video) if n < 10 or chosen.random() > loss))
        assert None not in good
        assert len(good) + damaged.total() <= FRAMES
        lost += damaged
    assert lost["lost packets"] > 0


def test_after_a_loss_the_stream_is_good_again_from_the_next_key_frame_on(video: list[bytes]) -> None:
    middle = next(n for n in range(len(video) * 3 // 8, len(video)) if is_of_the_video(video[n]))
    good, damaged = decoded(b"".join([*video[:middle], *video[middle + 1 :]]))
    assert None not in good
    assert damaged["lost packets"] > 0
    numbers = [number for number in good if number is not None]
    assert max(after - before for before, after in itertools.pairwise(numbers)) < 3 * GOP
    assert good[-1] == FRAMES - 1


@pytest.mark.parametrize("missing", [{5}, {16}, {14}, {20, 21, 22}])
@pytest.mark.parametrize("name", ["h264.ts", "open_gop.mkv"])
def test_what_builds_on_a_picture_that_is_missing_altogether_is_not_good(
    tmp_path: Path, name: str, missing: set[int]
) -> None:
    path = make(tmp_path, kind(name), Plan(packet=spoil(missing, "drop")))
    good, damaged = decoded(path.read_bytes(), {".ts": "mpegts", ".mkv": "matroska"}[path.suffix])
    assert None not in good
    assert good[-1] == 39
    assert damaged["lost packets"] > 0 or len(good) + len(missing) == 40


def is_of_the_video(packet: bytes) -> bool:
    return int.from_bytes(packet[1:3], "big") & 0x1FFF == 0x100


def jpeg(number: int = 7) -> bytes:
    return cv2.imencode(".jpg", truth.draw(number))[1].tobytes()


def test_a_cut_jpeg_is_cut_off_wherever_it_was_cut() -> None:
    decoder, data = JpegDecoder(av), jpeg()
    for length in (3, len(data) // 4, len(data) // 2, len(data) - 3, len(data) - 1):
        frame, damage = decoder.decode(data[:length])
        assert damage == "cut off"
        if frame is not None and length < len(data) - 3:
            assert truth.read(frame.to_ndarray(format="bgr24")) is None
    frame, damage = decoder.decode(data)
    assert damage is None
    found = truth.read(frame.to_ndarray(format="bgr24"))
    assert found is not None
    assert found.number == 7


def test_a_jpeg_that_lacks_a_piece_of_its_middle_is_damaged() -> None:
    decoder, data = JpegDecoder(av), jpeg()
    for place in range(10):
        at = len(data) // 3 + place * len(data) // 20
        assert decoder.decode(data[:at] + data[at + len(data) // 8 :])[1] == "decoder"
    assert decoder.decode(data)[1] is None


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xda\xff\xd9"])
def test_what_is_no_picture_is_none(data: bytes) -> None:
    frame, damage = JpegDecoder(av).decode(data)
    assert frame is None
    assert damage is not None


def test_a_jpeg_that_announces_more_pixels_than_anybody_has_is_not_decoded() -> None:
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\xff\xdc\xff\xdc"  # 65500x65500
    frame, damage = JpegDecoder(av).decode(bytes(data))
    assert frame is None
    assert damage == "decoder"
    assert MOST_PIXELS < 65500**2
