"""Video files whose frames carry their number (see :mod:`truth`), in whatever way people store them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import truth

FPS = 25


@dataclass(frozen=True)
class Kind:
    """How a video is stored.

    Attributes:
        name: Name of the file, with the suffix.
        codec: FFmpeg's encoder.
        options: Options of the encoder.
        pixels: FFmpeg's pixel format.
        size_hw: Size of the stored picture; the picture stands in its upper left corner.
        muxing: Options of the container.
        format: Format of the container, where the suffix does not tell.
        is_interlaced: Whether fields are coded.
    """

    name: str
    codec: str
    options: Mapping[str, str] = field(default_factory=dict)
    pixels: str = "yuv420p"
    size_hw: tuple[int, int] = truth.SIZE_HW
    muxing: Mapping[str, str] = field(default_factory=dict)
    format: str | None = None
    is_interlaced: bool = False

    def __str__(self) -> str:
        return self.name


H264 = {"preset": "veryfast", "bf": "2", "g": "12", "crf": "18"}
FIELDS = {**H264, "x264-params": "tff=1", "flags": "+ildct"}
MPEG2 = {"g": "12", "bf": "2", "b": "6000000"}
MPEG2_FIELDS = {**MPEG2, "flags": "+ildct+ilme"}
VPX = {"g": "12", "deadline": "realtime", "cpu-used": "8", "b": "3000000"}

KINDS = (
    Kind("h264.mp4", "libx264", H264),
    Kind("h264.mov", "libx264", H264),
    Kind("h264.flv", "libx264", H264),
    Kind("h264.ts", "libx264", H264),
    Kind("h264_10_bit.mkv", "libx264", H264, "yuv420p10le"),
    Kind("open_gop.mkv", "libx264", {**H264, "bf": "5", "x264-params": "open-gop=1:b-pyramid=normal"}),
    Kind("fragments.mp4", "libx264", H264, muxing={"movflags": "frag_keyframe+empty_moov"}),
    Kind("fields.mp4", "libx264", FIELDS, is_interlaced=True),
    Kind("fields.ts", "libx264", FIELDS, is_interlaced=True),
    Kind("fields.mkv", "libx264", FIELDS, is_interlaced=True),
    Kind("hevc.mp4", "libx265", {"preset": "veryfast", "x265-params": "keyint=12:log-level=none:crf=18"}),
    Kind("hevc.ts", "libx265", {"preset": "veryfast", "x265-params": "keyint=12:log-level=none:crf=18"}),
    Kind("mpeg2.ts", "mpeg2video", MPEG2),
    Kind("mpeg2.mpg", "mpeg2video", MPEG2),
    Kind("mpeg2_fields.ts", "mpeg2video", MPEG2_FIELDS, is_interlaced=True),
    Kind("mpeg2_fields.mpg", "mpeg2video", MPEG2_FIELDS, is_interlaced=True),
    Kind("mpeg1.mpg", "mpeg1video", MPEG2),
    Kind("mpeg4.avi", "mpeg4", {"g": "12", "b": "3000000"}),
    Kind("mpeg4.mp4", "mpeg4", {"g": "12", "b": "3000000", "bf": "2"}),
    Kind("h264.avi", "libx264", H264),
    Kind("mpeg4_b_frames.avi", "mpeg4", {"g": "12", "b": "3000000", "bf": "1"}),
    Kind("mpeg2.m2v", "mpeg2video", MPEG2, format="mpeg2video"),
    Kind("h264.h264", "libx264", H264, format="h264"),
    Kind("mjpeg.avi", "mjpeg", {"qmin": "2", "qmax": "2"}, "yuvj420p"),
    Kind("mjpeg.mov", "mjpeg", {"qmin": "2", "qmax": "2"}, "yuvj422p"),
    Kind("dv.avi", "dvvideo", {}, size_hw=(576, 720), is_interlaced=True),
    Kind("dv.mov", "dvvideo", {}, size_hw=(576, 720), is_interlaced=True),
    Kind("dv.dv", "dvvideo", {}, size_hw=(576, 720), is_interlaced=True),
    Kind("cineform.mov", "cfhd", {}, "yuv422p10le"),
    Kind("animation.mov", "qtrle", {}, "rgb24"),
    Kind("vp8.webm", "libvpx", VPX),
    Kind("vp9.webm", "libvpx-vp9", VPX),
    Kind("av1.mp4", "libsvtav1", {"preset": "8", "svtav1-params": "lossless=1"}),
    Kind("av1.mkv", "libsvtav1", {"preset": "8", "svtav1-params": "lossless=1"}),
    Kind("ffv1.mkv", "ffv1"),
    Kind("prores.mov", "prores", {}, "yuv422p10le"),
    Kind("wmv.wmv", "wmv2", {"b": "3000000", "g": "12"}, format="asf"),
    Kind("mpeg2.avi", "mpeg2video", MPEG2),
    Kind("screen.flv", "flashsv", {}, "bgr24"),
    Kind("sorenson.mov", "svq1", {}, "yuv410p"),
    Kind("tiff.mov", "tiff", {}, "rgb24"),
)


def kind(name: str) -> Kind:
    """The one of this name."""
    return next(one for one in KINDS if one.name == name)


@dataclass
class Plan:
    """What else is to be true of a file.

    Attributes:
        frames: How many pictures are encoded.
        times: When each is shown, in seconds; at the rate where it is not given.
        turned: Degrees, anticlockwise, that a player turns what is stored by.
        mirrored: Whether it mirrors it, too.
        aspect: Width to height of a pixel.
        tags: Tags of the container.
        colors: Sets the color tags of PyAV's codec context.
        packet: Called with the number of each packet in decoding order and its bytes; gives those that are
            written instead, or ``None`` where the packet is left out.
        hidden_s: So much of the beginning is hidden by an edit list.
        sound_s: Length of the sound beside it.
    """

    frames: int = 40
    times: Sequence[float] | None = None
    turned: int = 0
    mirrored: bool = False
    aspect: Fraction | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    colors: Callable[[Any], None] = lambda _context: None
    packet: Callable[[int, bytes], bytes | None] = lambda _number, data: data
    hidden_s: float = 0.0
    sound_s: float = 0.0


def picture(number: int, kind: Kind) -> np.ndarray:
    """What is stored of a number: (H, W, 3) BGR."""
    height, width = kind.size_hw
    drawn = truth.draw(number, 10**15, (height // 16 * 16, width // 64 * 64))
    return np.pad(drawn, ((0, height - drawn.shape[0]), (0, width - drawn.shape[1]), (0, 0)), "edge")


def number_in(frame: np.ndarray) -> int | None:
    """Which number a frame carries, where all of it is as it was drawn."""
    height, width = frame.shape[:2]
    shown = truth.read(np.ascontiguousarray(frame[: height // 16 * 16, : width // 64 * 64]))
    return None if shown is None else shown.number


def repeated(path: Path, video: Path, times: int) -> Path:
    """Write the pictures of a video over and over, as they are coded there.

    Args:
        path: Path of the new file.
        video: Read from; its packets come in the order in which they are shown.
        times: How often.
    """
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        stream: Any = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        packets: list[Any] = [packet for packet in source.demux(stream) if packet.size]
        for turn in range(times):
            for packet in packets:
                again = av.Packet(bytes(packet))
                again.stream, again.time_base, again.is_keyframe = copy, stream.time_base, packet.is_keyframe
                again.pts = again.dts = packet.pts + turn * stream.duration
                target.mux(again)
    return path


@contextmanager
def kept_scheduling() -> Iterator[None]:
    """Give every thread of this process the scheduling back that it had.

    SVT-AV1 makes its caller a real-time thread where it may, as root. So is what the caller starts then, and
    other processes of the machine get next to no time beside it.
    """
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for thread in Path("/proc/self/task").iterdir():
            with suppress(ProcessLookupError):
                os.sched_setscheduler(int(thread.name), policy, priority)


def make(path: Path, kind: Kind, plan: Plan | None = None, draw: Callable[..., Any] = picture) -> Path:
    """Encode a video.

    Args:
        path: Path of the file, or of the folder for it.
        kind: How to store it.
        plan: What else is to be true.
        draw: Gives the picture of a number.
    """
    plan = plan or Plan()
    path = path / kind.name if path.is_dir() else path
    options = {**kind.muxing, **({"avoid_negative_ts": "disabled"} if plan.hidden_s else {})}
    if kind.codec not in av.codecs_available:
        import pytest

        pytest.skip(f"this FFmpeg has no {kind.codec}")
    with kept_scheduling(), av.open(str(path), "w", format=kind.format, options=options) as container:
        container.metadata.update(plan.tags)
        stream: Any = container.add_stream(kind.codec, rate=FPS, options=dict(kind.options))
        stream.height, stream.width = kind.size_hw
        stream.pix_fmt = kind.pixels
        tick = Fraction(1, FPS * 512)
        if plan.times is not None:
            stream.codec_context.time_base = tick
        if plan.aspect is not None:
            stream.codec_context.sample_aspect_ratio = plan.aspect
        plan.colors(stream.codec_context)
        if plan.turned or plan.mirrored:
            stream.set_display_rotation(plan.turned, hflip=plan.mirrored)
        sound = (
            container.add_stream("mp2" if path.suffix in (".ts", ".mpg") else "aac", rate=44100)
            if plan.sound_s
            else None
        )
        count = 0
        for number in range(plan.frames + 1):
            frame = None
            if number < plan.frames:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(draw(number, kind)), format="bgr24")
                if plan.times is not None:
                    frame.pts, frame.time_base = round(plan.times[number] / tick), tick
            for packet in stream.encode(frame):
                data = plan.packet(count, bytes(packet))
                count += 1
                if data is None:
                    continue
                if data != bytes(packet):
                    packet = _like(packet, data)
                if plan.hidden_s:
                    shift = round(Fraction(plan.hidden_s).limit_denominator(1000) / packet.time_base)
                    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = stream
                container.mux(packet)
        if sound is not None:
            _add_sound(container, sound, plan.sound_s)
    return path


def spoil(numbers: Collection[int], way: str) -> Callable[[int, bytes], bytes | None]:
    """What damages packets of these numbers; for :attr:`Plan.packet`.

    Args:
        numbers: In decoding order.
        way: ``flip`` some bits, ``zero`` a quarter, ``cut`` the second half off, ``noise`` from a third on,
            or ``drop`` it.
    """

    def change(number: int, data: bytes) -> bytes | None:
        if number not in numbers:
            return data
        dice, changed, half = random.Random(number), bytearray(data), len(data) // 2
        if way == "drop":
            return None
        if way == "cut":
            return bytes(changed[:half])
        if way == "flip":
            for _ in range(3):
                changed[dice.randrange(min(20, half), len(data))] ^= 1 << dice.randrange(8)
        elif way == "zero":
            end = min(len(data), half + max(8, len(data) // 4))
            changed[half:end] = bytes(end - half)
        else:
            changed[len(data) // 3 :] = dice.randbytes(len(data) - len(data) // 3)
        return bytes(changed)

    return change


def _like(packet: Any, data: bytes) -> Any:
    other = av.Packet(data)
    other.pts, other.dts, other.time_base = packet.pts, packet.dts, packet.time_base
    other.duration, other.is_keyframe = packet.duration, packet.is_keyframe
    return other


def _add_sound(container: Any, stream: Any, seconds: float) -> None:
    size = 1152
    for start in range(0, int(seconds * 44100), size):
        silence = av.AudioFrame.from_ndarray(np.zeros((1, size), np.float32), "fltp", "mono")
        silence.sample_rate, silence.pts = 44100, start
        container.mux(stream.encode(silence))
    container.mux(stream.encode(None))
