"""Probes in a pipeline: packets are watched, damaged pictures kept back, frames written to a pipe."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import threading
from collections import OrderedDict
from contextlib import suppress
from typing import Final, TypeVar

from danet_runtime.clock import MonotonicTimes, now_ns
from danet_runtime.gstreamer.library import (
    CAPS_EVENT,
    CORRUPTED,
    DELTA_UNIT,
    DISCONT,
    NO_TIME,
    PROBE_BUFFER,
    PROBE_BUFFER_LIST,
    PROBE_DROP,
    PROBE_EVENT,
    PROBE_OK,
    Buffer,
    Event,
    Library,
    Mapping,
    ProbeInfo,
)
from danet_runtime.gstreamer.picture_gate import PictureGate
from danet_runtime.gstreamer.rtp_arrivals import Arrivals, stamp_by_kernel
from danet_runtime.gstreamer.rtp_watch import HEADER_BYTES, Picture, RtpWatch, SenderReports
from danet_runtime.sources.coded.pictures import Codec, PictureStart, read_start
from danet_runtime.sources.protocol import gdp
from danet_runtime.sources.protocol.damage import DamagePolicy, DamageReason

SINK: Final = "danet-frames"
"""The name of the element whose frames are written."""

_CODECS: Final[dict[str, Codec]] = {"video/x-h264": "h264", "video/x-h265": "h265"}
_DEPAYLOADERS: Final[dict[str, Codec]] = {"rtph264depay": "h264", "rtph265depay": "h265"}
_BEGINNING: Final = 4096  # bytes; parameters and messages before the first slice are far fewer
_MUCH: Final = 1 << 18
_KEPT: Final = 512
_OLDEST_NS: Final = 10_000_000_000
_ANY_KEY: Final = PictureStart(True, True)
_ANY_DELTA: Final = PictureStart(True, False)
_Kept = TypeVar("_Kept")


class PictureFlow:
    """Sees to it that no damaged frame is taken for a good one.

    Args:
        library: GStreamer.
        fd: File descriptor that frames are written to, in the form of
            :mod:`danet_runtime.sources.protocol.gdp`.
        damaged: Whether damaged frames are kept back and counted, or written with the reason.
    """

    def __init__(self, library: Library, fd: int, damaged: DamagePolicy) -> None:
        self._library = library
        self._fd = fd
        self._policy: DamagePolicy = damaged
        self._watches: list[RtpWatch] = []
        self._reports = SenderReports()
        self._received = MonotonicTimes()
        self._packets = Arrivals()
        self._arrivals: OrderedDict[int, int] = OrderedDict()  # at a decoder, by timestamp
        self._suspects: OrderedDict[int, DamageReason] = OrderedDict()  # that a decoder got all the same
        self._trusted: OrderedDict[int, bool] = OrderedDict()  # where damaged ones are decoded, too
        self._last_damage: DamageReason | None = None
        self._shift_ns: int | None = None  # from GStreamer's timestamps to those of RTP
        self._writing = threading.Lock()
        self._noting = threading.Lock()
        self._notes: dict[DamageReason, int] = {}

    def attach(self, pipeline: int) -> None:
        """Probe what is in a pipeline and what will come into it; frames are written from its sink."""
        library = self._library
        self._pipeline = pipeline
        library.each_element(pipeline, self._see)
        sink = library.gst.gst_bin_get_by_name(pipeline, SINK.encode())
        pad = library.gst.gst_element_get_static_pad(sink, b"sink")
        library.probe(pad, PROBE_BUFFER, lambda info: self._write(info.data))
        library.probe(pad, PROBE_EVENT, self._tell_format)

    def _see(self, element: int) -> None:
        library = self._library
        name, kind = library.class_of(element)
        if name == "rtpsession":
            library.each_pad(element, self._see_session_pad)
            return
        if name == "udpsrc":
            library.set(element, "socket-timestamp", "realtime")
            if (fd := library.socket_of(element)) is not None:  # rtspsrc opens it before anybody sees it
                with suppress(OSError):
                    stamp_by_kernel(fd)
            return
        pad = library.gst.gst_element_get_static_pad(element, b"sink")
        if not pad:
            return
        if "Depayloader" in kind:
            self._watch(pad, _DEPAYLOADERS.get(name))
        elif "Decoder" in kind and ("Video" in kind or "Image" in kind):
            self._guard(pad)

    def _see_session_pad(self, pad: int) -> None:
        library = self._library

        def reported(info: ProbeInfo) -> int:
            for buffer in library.buffers(info):
                self._reports.packet(library.beginning(buffer, 1500))
            return PROBE_OK

        def received(info: ProbeInfo) -> int:
            for buffer in library.buffers(info):
                arrival_ns = self._arrival_ns(Buffer.from_address(buffer).dts)
                self._packets.note(library.beginning(buffer, HEADER_BYTES), arrival_ns)
            return PROBE_OK

        name = library.text(library.gst.gst_object_get_name(pad))
        if name in ("recv_rtcp_sink", "recv_rtp_sink"):
            call = reported if name == "recv_rtcp_sink" else received
            library.probe(pad, PROBE_BUFFER | PROBE_BUFFER_LIST, call)

    def _watch(self, pad: int, codec: Codec | None) -> None:
        library = self._library
        watch: RtpWatch | None = None
        is_video: bool | None = None

        def passed(info: ProbeInfo) -> int:
            nonlocal watch, is_video
            if is_video is None:
                caps = library.caps_of(pad)
                is_video = "media=(string)video" in caps
                if is_video:
                    rate = re.search(r"clock-rate=\(int\)(\d+)", caps)
                    watch = RtpWatch(codec, int(rate[1]) if rate else 90_000)
                    self._watches.append(watch)
            if watch is not None:
                for address in library.buffers(info):
                    buffer = Buffer.from_address(address)
                    data = library.beginning(address, HEADER_BYTES)
                    arrival_ns = self._packets.of(data) or self._arrival_ns(buffer.dts)
                    buffer.pts = watch.packet(data, buffer.pts, arrival_ns)
            return PROBE_OK

        library.probe(pad, PROBE_BUFFER | PROBE_BUFFER_LIST, passed)

    def _guard(self, pad: int) -> None:
        library = self._library
        gate = PictureGate(self._policy)
        codec: Codec | None = None
        is_byte_stream = False
        has_begun = has_known = False

        def passed(info: ProbeInfo) -> int:
            nonlocal codec, is_byte_stream, has_begun, has_known
            buffer = Buffer.from_address(info.data)
            picture = self._picture(buffer.pts)
            if not has_begun:
                has_begun = True
                caps = library.caps_of(pad)
                codec = _CODECS.get(caps.partition(",")[0])
                is_byte_stream = "byte-stream" in caps
            elif picture is None and buffer.flags & DISCONT and buffer.flags & DELTA_UNIT:
                gate.lost("lost packets")
            if picture is not None:
                has_known = True
            elif has_known:  # parts of two may have been put together
                gate.lost("lost packets")
            start = _ANY_DELTA
            if gate.must_see(picture):
                start = self._start(info.data, buffer.flags, codec, is_byte_stream)
            verdict = gate.judge(start, -1 if buffer.pts == NO_TIME else buffer.pts, picture)
            if verdict.asks:
                library.ask_for_key_frame(pad)
            if verdict.passes:
                if picture is None:
                    _keep(self._arrivals, buffer.pts, now_ns())
                if verdict.damage is not None:
                    _keep(self._suspects, buffer.pts, verdict.damage)
                    self._last_damage = verdict.damage
                elif self._policy == "mark":
                    _keep(self._trusted, buffer.pts, True)
                return PROBE_OK
            if verdict.damage is not None:
                self._note(verdict.damage)
            return PROBE_DROP

        library.probe(pad, PROBE_BUFFER, passed)

    def _start(self, buffer: int, flags: int, codec: Codec | None, is_byte_stream: bool) -> PictureStart:
        if codec is None:
            return _ANY_DELTA if flags & DELTA_UNIT else _ANY_KEY
        for most in (_BEGINNING, _MUCH):
            data = self._library.beginning(buffer, most)
            start = read_start(data, codec, is_byte_stream)
            if start.is_picture or len(data) < most:
                break
        return start

    def _picture(self, pts: int) -> Picture | None:
        for watch in self._watches:
            if (picture := watch.of(pts)) is not None:
                return picture
        return None

    def _arrival_ns(self, dts: int) -> int:
        """Return when a packet came, by the time that its receiver gave it; it may have waited since."""
        now = now_ns()
        base = self._library.gst.gst_element_get_base_time(self._pipeline)
        if dts == NO_TIME or not base:
            return now
        # By GStreamer's own clock, unless an element brings another; 0 is what came before it played.
        arrival_ns = self._received.now_ns(base + dts)
        return arrival_ns if 0 <= now - arrival_ns < _OLDEST_NS else now

    # What is written.

    def _note(self, reason: DamageReason) -> None:
        """Count a frame that was left out: told at once, or after the frame that is being written."""
        with self._noting:
            self._notes[reason] = self._notes.get(reason, 0) + 1
        if self._writing.acquire(blocking=False):
            try:
                self._write_notes()
            finally:
                self._writing.release()

    def _write_notes(self) -> None:
        while self._notes:
            with self._noting:
                notes, self._notes = self._notes, {}
            for reason, frames in notes.items():
                self._put(gdp.write_damage(reason, frames))

    def _tell_format(self, info: ProbeInfo) -> int:
        if Event.from_address(info.data).type == CAPS_EVENT:
            caps = self._library.caps_in(info.data).encode() + b"\0"
            with self._writing:
                self._put(gdp.write_header(gdp.CAPS, len(caps)) + caps)
        return PROBE_OK

    def _write(self, address: int) -> int:
        buffer = Buffer.from_address(address)
        damage: DamageReason | None = "decoder" if buffer.flags & CORRUPTED else None
        damage = self._suspects.pop(buffer.pts, None) or damage
        if self._last_damage is not None and self._trusted and buffer.pts not in self._trusted:
            damage = damage or self._last_damage  # a decoder makes frames up for those that are missing
        if damage is not None and self._policy == "drop":
            self._note(damage)
            return PROBE_OK
        time_ns = None if buffer.pts == NO_TIME else buffer.pts
        arrival_ns = self._arrivals.pop(buffer.pts, None)
        sent_ns = None
        for watch in self._watches:
            if (picture := watch.of(buffer.pts)) is not None:
                if not picture.is_dated:
                    return PROBE_OK
                time_ns, arrival_ns = watch.time_ns(picture), picture.arrival_ns
                sent_ns = watch.sent_unix_ns(picture, self._reports)
                self._shift_ns = time_ns - buffer.pts
                break
        else:
            if time_ns is not None and self._shift_ns is not None:
                time_ns += self._shift_ns
        mapping = Mapping()
        if not self._library.gst.gst_buffer_map(address, ctypes.byref(mapping), 1):
            return PROBE_OK
        try:
            pixels = memoryview((ctypes.c_char * mapping.size).from_address(mapping.data)).cast("B")
            header = gdp.write_header(
                gdp.BUFFER,
                mapping.size,
                time_ns,
                arrival_ns=arrival_ns,
                sender_unix_ns=sent_ns,
                damage=damage,
            )
            with self._writing:
                self._put(header)
                self._put(pixels)
                self._write_notes()
        finally:
            self._library.gst.gst_buffer_unmap(address, ctypes.byref(mapping))
        return PROBE_OK

    def _put(self, data: bytes | memoryview) -> None:
        try:
            gdp.write(self._fd, data)
        except BrokenPipeError:  # nobody reads any more
            os._exit(0)
        except OSError as error:
            sys.stderr.write(f"ERROR: frames cannot be written: {error.strerror}\n")
            os._exit(1)


def _keep(table: OrderedDict[int, _Kept], key: int, value: _Kept) -> None:
    table[key] = value
    if len(table) > _KEPT:
        table.popitem(last=False)
