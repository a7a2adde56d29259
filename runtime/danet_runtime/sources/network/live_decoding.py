"""FFmpeg's decoders for live streams, held to what they know: which frames are corrupt, or may be.

PyAV gives the flags of FFmpeg (``AV_PKT_FLAG_CORRUPT``, ``AV_FRAME_FLAG_CORRUPT``, ``decode_error_flags``).
Which frames build on a damaged one it does not say, so after any damage everything counts as damaged up to
the next key frame. Nothing is held back: of files, whose frames may wait,
:mod:`danet_runtime.sources.video_files.decoder` knows more.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from danet_runtime.pictures.header import MOST_PIXELS
from danet_runtime.pictures.wholeness import has_end
from danet_runtime.sources.coded.h264_frame_numbers import FrameNumbers
from danet_runtime.sources.coded.pictures import has_hole
from danet_runtime.sources.protocol.damage import DamageReason


class JpegDecoder:
    """Decodes pictures that stand each for itself.

    A JPEG has no checksums: what breaks its codes is seen, damage that leaves them readable is not.

    Args:
        av: PyAV.
    """

    def __init__(self, av: Any) -> None:  # noqa: ANN401
        self._av = av
        self._strict = self._decoder("explode")
        self._lenient = self._decoder("careful")

    def decode(self, data: bytes) -> tuple[Any, DamageReason | None]:
        """One picture.

        Returns:
            The ``av.VideoFrame``, or ``None`` where nothing can be made of it, and what is wrong with it.
        """
        if not has_end(data):
            return self._any(data), "cut off"
        try:
            frames = self._strict.decode(self._av.Packet(data))
        except self._av.FFmpegError:
            self._strict = self._decoder("explode")
            return self._any(data), "decoder"
        if not frames:
            return None, "decoder"
        return frames[0], "decoder" if frames[0].is_corrupt else None

    def _any(self, data: bytes) -> Any:  # noqa: ANN401
        """Whatever can be made of a damaged one."""
        try:
            frames = self._lenient.decode(self._av.Packet(data))
        except self._av.FFmpegError:
            self._lenient = self._decoder("careful")
            return None
        return frames[0] if frames else None

    def _decoder(self, strictness: str) -> Any:  # noqa: ANN401
        decoder = self._av.CodecContext.create("mjpeg", "r")
        decoder.options = {"err_detect": strictness, "max_pixels": str(MOST_PIXELS)}
        decoder.thread_count = 1
        return decoder


class LiveDecoder:
    """Decodes a stream whose frames build on each other, from its first key frame on.

    Args:
        av: PyAV.
        stream: Stream of an open container; its decoder is set up here.
    """

    def __init__(self, av: Any, stream: Any) -> None:  # noqa: ANN401
        self._av = av
        self._codec = stream.codec_context
        self._codec.options = {"max_pixels": str(MOST_PIXELS)}
        # With threads by frame, each would be several frames late; with threads by slice, of which cameras
        # hardly have two, FFmpeg's H.264 sees no errors, and sets no decode_error_flags (h264dec.c).
        self._codec.thread_count = 1
        self._parameters = bytes(stream.codec_context.extradata or b"")
        self._numbers = FrameNumbers(self._parameters) if stream.codec_context.name == "h264" else None
        self._why: DamageReason | None = "no key frame yet"
        self._heals_after: int | None = None
        # FFmpeg's parser loses the mark of the first packet, and its H.265 does not say that it is broken.
        self._was_corrupt = (stream.codec_context.name, stream.container.format.name) == ("hevc", "mpegts")

    def decode(self, packet: Any) -> tuple[list[tuple[Any, DamageReason | None]], Counter[DamageReason]]:  # noqa: ANN401
        """One packet.

        Returns:
            The frames that are ready, each with why it is not to be trusted; and how many were left out, why.
        """
        left_out: Counter[DamageReason] = Counter()
        # A parser marks the packet that what is corrupt brings to its end, and not always the corrupt one.
        is_corrupt, self._was_corrupt = packet.is_corrupt or self._was_corrupt, packet.is_corrupt
        if self._why == "no key frame yet" and (is_corrupt or not packet.is_keyframe):
            left_out[self._why] += packet.size > 0  # one without is the end of the stream
            return [], left_out
        judged: list[tuple[Any, DamageReason | None]] = []
        if self._numbers is not None:
            data = bytes(packet)
            misses = self._numbers.misses_before(data) and not packet.is_keyframe
            is_corrupt = is_corrupt or misses or has_hole(data, self._parameters, "h264")
        if is_corrupt:
            self._why = "lost packets"
        elif self._why is not None and packet.is_keyframe:
            if self._why != "no key frame yet":
                judged += self._drained(self._why)
            self._heals_after, self._why = packet.pts, None
        try:
            frames = self._codec.decode(packet)
        except self._av.FFmpegError:
            left_out[self._why or "decoder"] += 1
            self._why = self._why or "missing reference"
            return judged, left_out
        return judged + [(frame, self._judge(frame)) for frame in frames], left_out

    def _judge(self, frame: Any) -> DamageReason | None:  # noqa: ANN401
        if self._why is not None:
            return self._why
        if frame.is_corrupt:
            self._why = "missing reference"
            return "decoder"
        return "missing reference" if self._leads(frame) else None

    def _drained(self, why: DamageReason) -> list[tuple[Any, DamageReason | None]]:
        """Return the frames still in the decoder and reset it; it judges anew when it has recovered."""
        try:
            frames = self._codec.decode(None)
        except self._av.FFmpegError:
            frames = []
        self._codec.flush_buffers()
        return [(frame, why) for frame in frames]

    def _leads(self, frame: Any) -> bool:  # noqa: ANN401
        """Whether a frame stands before the key frame in time, and so builds on what came before that."""
        if self._heals_after is None or frame.pts is None:
            return False
        return bool(frame.pts < self._heals_after)
