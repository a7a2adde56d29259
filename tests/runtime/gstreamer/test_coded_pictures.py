"""What a coded picture is, read from streams that real encoders made."""

from __future__ import annotations

import fractions
from typing import Any

import av
import pytest
import truth
from rtp_packets import nal_units, payloads

from danet_runtime.sources.coded.pictures import Codec, begins_picture, read_start

ENCODERS = {"h264": ("libx264", "x264-params"), "h265": ("libx265", "x265-params")}


def encoded(codec: Codec, parameters: str, count: int = 24) -> list[tuple[bytes, bool]]:
    """Pictures of a stream in byte-stream format, and whether the encoder calls each a key frame."""
    name, option = ENCODERS[codec]
    encoder: Any = av.CodecContext.create(name, "w")
    encoder.width, encoder.height, encoder.pix_fmt = 128, 64, "yuv420p"
    encoder.time_base = fractions.Fraction(1, 25)
    quiet = "log-level=none:" if codec == "h265" else ""
    tuned = {} if "open-gop=1" in parameters else {"tune": "zerolatency"}
    encoder.options = {"preset": "ultrafast", **tuned, option: quiet + parameters}
    packets = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(truth.draw(number, 10**9, (64, 128)), format="bgr24")
        frame.pts = number
        packets += encoder.encode(frame.reformat(format="yuv420p"))
    packets += encoder.encode(None)
    return [(bytes(packet), packet.is_keyframe) for packet in packets]


def with_lengths(picture: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in nal_units(picture))


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_key_frames_are_told_from_others_in_both_formats(codec: Codec) -> None:
    for picture, is_key in encoded(codec, "keyint=8:min-keyint=8:scenecut=0:open-gop=0"):
        for data, is_byte_stream in ((picture, True), (with_lengths(picture), False)):
            start = read_start(data, codec, is_byte_stream)
            assert (start.is_picture, start.is_key, start.is_closed) == (True, is_key, True)
            assert start.recovered_after == 0


def test_an_open_group_begins_with_a_picture_others_of_which_are_shown_before() -> None:
    starts = [
        read_start(picture, "h265", True)
        for picture, _ in encoded("h265", "keyint=8:min-keyint=8:scenecut=0:open-gop=1:bframes=2", 40)
    ]
    keys = [start for start in starts if start.is_key]
    assert len(keys) >= 4
    assert any(not start.is_closed for start in keys[1:])


def test_a_stream_that_renews_itself_says_after_how_many_pictures_it_is_whole() -> None:
    pictures = encoded("h264", "intra-refresh=1:keyint=10:min-keyint=10:scenecut=0", 40)
    starts = [read_start(picture, "h264", True) for picture, _ in pictures]
    assert [number for number, start in enumerate(starts) if start.is_key and start.is_closed] == [0]
    renewing = [start for start in starts[1:] if start.is_key]
    assert renewing
    assert all(0 < start.recovered_after <= 10 for start in renewing)


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("most", [60, 200, 100_000])
def test_the_first_packet_of_a_picture_is_known(codec: Codec, most: int) -> None:
    parameters = "keyint=8:min-keyint=8:scenecut=0" + (":slices=3" if codec == "h264" else "")
    for picture, _ in encoded(codec, parameters):
        units = nal_units(picture)
        assert begins_picture(next(payloads(units[0], codec, most)), codec)
        slices = [
            unit
            for unit in units
            if (unit[0] & 0x1F in (1, 5) if codec == "h264" else unit[0] >> 1 & 0x3F < 32)
        ]
        parts = list(payloads(slices[0], codec, most))
        assert not any(begins_picture(part, codec) for part in parts[1:])
        assert not any(begins_picture(next(payloads(unit, codec, most)), codec) for unit in slices[1:])


def test_anything_at_all_is_read_without_a_failure() -> None:
    for length in range(40):
        data = bytes(range(length))
        for codec in ("h264", "h265"):
            read_start(data, codec, True)  # type: ignore[arg-type]
            read_start(b"\x00\x00\x00\x01" + data, codec, False)  # type: ignore[arg-type]
            begins_picture(data, codec)  # type: ignore[arg-type]
