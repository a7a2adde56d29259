"""A camera of the truth over RTSP: pictures that carry their number and time, live, over a bad network.

It speaks as much of RTSP (RFC 2326) as a client asks for, over UDP or interleaved in the TCP connection, and
notes which pictures came through whole.
"""

from __future__ import annotations

import base64
import fractions
import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import av
import truth
from rtp_packets import (
    CLOCK_RATE,
    PAYLOAD_TYPE,
    asks_for_key_frame,
    nal_units,
    packet,
    payloads,
    sender_report,
)
from wire import Wire, WireRules

from danet_runtime.clock import now_ns
from danet_runtime.sources.live.sender_clock import wall_clock_ahead_ns

_REPORT_EVERY_S = 0.5
_ENCODERS = {"h264": "libx264", "h265": "libx265"}


@dataclass(frozen=True)
class CameraRules:
    """What the camera is like.

    Attributes:
        codec: ``h264`` or ``h265``.
        fps: Pictures a second.
        key_every: Pictures from one key frame to the next.
        size_hw: Size of its pictures.
        slices: Parts of each picture that are decoded by themselves.
        most_bytes: Largest payload of an RTP packet.
        intra_refresh: A column of each picture is renewed, and there is no key frame after the first.
        offers_udp: Whether it sends over UDP; else the client must take TCP.
        reports: Whether it sends RTCP sender reports.
        clock_error_s: How much its wall clock is ahead.
        answers_requests: Whether it says that it takes requests for key frames, and sends one when asked.
    """

    codec: str = "h264"
    fps: int = 25
    key_every: int = 150
    size_hw: tuple[int, int] = truth.SIZE_HW
    slices: int = 1
    most_bytes: int = 200
    intra_refresh: bool = False
    offers_udp: bool = True
    reports: bool = True
    clock_error_s: float = 0.0
    answers_requests: bool = False


@dataclass
class Sent:
    """A picture as it was sent to one client.

    Attributes:
        arrived_ns: When its first packet had reached the client's socket; 0: none has yet.
    """

    number: int
    is_key: bool
    is_whole: bool = False
    arrived_ns: int = 0


@dataclass
class Viewer:
    """One client that plays.

    Attributes:
        name: What its address has behind that of the camera.
        sent: Every picture since it joined, in order.
    """

    send_rtp: Callable[[bytes], None]
    send_rtcp: Callable[[bytes], None]
    sent: list[Sent] = field(default_factory=list)
    sequence: int = 0
    reported_s: float = 0.0
    name: str = ""

    def decodable(self) -> set[int]:
        """Numbers of the pictures that came whole, with all that they build on: what a client can show."""
        numbers, is_good = set(), False
        for one in list(self.sent):
            is_good = one.is_whole and (one.is_key or is_good)
            if is_good:
                numbers.add(one.number)
        return numbers


class RtspCamera:
    """Sends while its ``with`` block runs.

    Args:
        rules: What it is like.
        wire: What the network is like.

    Attributes:
        uri: Where it is.
        viewers: Clients that have played, the latest last.
        requests: How many requests for a key frame came.
        frames: How many pictures were drawn.
    """

    def __init__(
        self, rules: CameraRules | None = None, wire: WireRules | None = None, port: int = 0
    ) -> None:
        self.rules = rules or CameraRules()
        self.wire_rules = wire or WireRules()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.uri = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/truth"
        self.viewers: list[Viewer] = []
        self.requests = 0
        self.frames = 0
        self._active: list[Viewer] = []
        self._sockets: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        self._over = threading.Event()
        self._wants_key = threading.Event()
        self._source = random.Random(self.wire_rules.seed).getrandbits(32)
        self._time_offset = random.Random(self.wire_rules.seed + 1).getrandbits(32)
        self._encoder = self._open_encoder()
        self._parameters: list[bytes] = []
        self._has_parameters = threading.Event()
        self._wire = Wire(self.wire_rules)

    def __enter__(self) -> RtspCamera:
        self._wire.__enter__()
        for target in (self._film, self._accept):
            self._start(target)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for one in list(self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in list(self._threads):
            thread.join(5)
        self._wire.__exit__()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="rtsp-camera", daemon=True)
        self._threads.append(thread)
        thread.start()

    # The pictures.

    def _open_encoder(self) -> av.VideoCodecContext:
        rules = self.rules
        encoder = av.CodecContext.create(_ENCODERS[rules.codec], "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.height, encoder.width = rules.size_hw
        encoder.pix_fmt = "yuv420p"
        encoder.time_base = fractions.Fraction(1, rules.fps)
        encoder.framerate = fractions.Fraction(rules.fps)
        encoder.gop_size = rules.key_every
        encoder.thread_count = 1
        options = {"preset": "ultrafast", "tune": "zerolatency", "forced-idr": "1", "crf": "20"}
        if rules.codec == "h264":
            inner = f"slices={rules.slices}:keyint={rules.key_every}:min-keyint=1:scenecut=0"
            inner += ":intra-refresh=1" if rules.intra_refresh else ""
            options["x264-params"] = inner
        else:
            inner = f"log-level=none:keyint={rules.key_every}:min-keyint=1:scenecut=0:open-gop=0:crf=20"
            inner += f":slices={rules.slices}:frame-threads=1:pools=none"
            options["x265-params"] = inner + (":intra-refresh=1" if rules.intra_refresh else "")
        encoder.options = options
        return encoder

    def _film(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due = max(due + 1 / self.rules.fps, time.monotonic() - 0.2)
            time_ns = now_ns()
            picture = truth.draw(self.frames, time_ns, self.rules.size_hw)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format="yuv420p")
            frame.pts = self.frames
            if self._wants_key.is_set():
                self._wants_key.clear()
                frame.pict_type = av.video.frame.PictureType.I
            for encoded in self._encoder.encode(frame):
                self._send(bytes(encoded), encoded.is_keyframe, time_ns)
            self.frames += 1

    def _send(self, access_unit: bytes, is_key: bool, time_ns: int) -> None:
        units = nal_units(access_unit)
        if not self._parameters:
            self._parameters = [unit for unit in units if self._is_parameter(unit)]
            self._has_parameters.set()
        most, codec = self.rules.most_bytes, self.rules.codec
        parts = [part for unit in units for part in payloads(unit, codec, most)]
        stamp = self._rtp_time(time_ns)
        for viewer in list(self._active):
            self._report(viewer)
            sent, arrive = Sent(self.frames, is_key), []
            viewer.sent.append(sent)
            for index, part in enumerate(parts):
                data = packet(part, viewer.sequence, stamp, self._source, is_last=index == len(parts) - 1)
                viewer.sequence += 1

                def deliver(viewer: Viewer = viewer, data: bytes = data, sent: Sent = sent) -> None:
                    viewer.send_rtp(data)
                    sent.arrived_ns = sent.arrived_ns or now_ns()

                arrive.append(self._wire.send(deliver))
            sent.is_whole = all(arrive)

    def _is_parameter(self, unit: bytes) -> bool:
        return unit[0] & 0x1F in (7, 8) if self.rules.codec == "h264" else unit[0] >> 1 & 0x3F in (32, 33, 34)

    def _rtp_time(self, time_ns: int) -> int:
        return time_ns * CLOCK_RATE // 10**9 + self._time_offset

    def _report(self, viewer: Viewer) -> None:
        now = time.monotonic()
        if not self.rules.reports or now - viewer.reported_s < _REPORT_EVERY_S:
            return
        viewer.reported_s = now
        time_ns = now_ns()
        unix_ns = time_ns + wall_clock_ahead_ns() + int(self.rules.clock_error_s * 1e9)
        report = sender_report(unix_ns, self._rtp_time(time_ns), self._source, viewer.sequence)
        self._wire.send(lambda: viewer.send_rtcp(report), may_be_lost=False)

    def _asked(self, report: bytes) -> None:
        if asks_for_key_frame(report):
            self.requests += 1
            if self.rules.answers_requests:
                self._wants_key.set()

    # The connections.

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            self._start(self._converse, client)

    def _converse(self, client: socket.socket) -> None:
        stream = client.makefile("rb")
        lock = threading.Lock()
        viewer: Viewer | None = None
        try:
            while first := stream.read(1):
                if first == b"$":
                    channel, length = stream.read(1)[0], int.from_bytes(stream.read(2), "big")
                    data = stream.read(length)
                    if channel == 1:
                        self._asked(data)
                    continue
                method, address = (first + stream.readline()).decode().split()[:2]
                headers = {}
                while line := stream.readline().strip().decode():
                    key, _, value = line.partition(":")
                    headers[key.lower()] = value.strip()
                if length := int(headers.get("content-length", 0)):
                    stream.read(length)
                status, more, body = "200 OK", [], ""
                if method == "DESCRIBE":
                    body = self._description()
                    more = ["Content-Type: application/sdp"]
                elif method == "SETUP":
                    status, more, viewer = self._setup(client, lock, headers["transport"])
                elif method == "PLAY" and viewer is not None:
                    viewer.name = address.partition("/truth")[2].strip("/")
                    self.viewers.append(viewer)
                    self._active.append(viewer)
                elif method == "OPTIONS":
                    more = ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"]
                lines = [f"RTSP/1.0 {status}", f"CSeq: {headers['cseq']}", "Session: 1;timeout=60", *more]
                answer = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body])
                with lock:
                    client.sendall(answer.encode())
                if method == "TEARDOWN":
                    break
        except (OSError, IndexError, ValueError):
            pass  # the client has left
        finally:
            if viewer in self._active:
                self._active.remove(viewer)
            client.close()

    def _setup(
        self, client: socket.socket, lock: threading.Lock, transport: str
    ) -> tuple[str, list[str], Viewer | None]:
        first = next((one for one in transport.split(",") if ("TCP" in one) or self.rules.offers_udp), None)
        if first is None:
            return "461 Unsupported Transport", [], None
        fields = dict(part.partition("=")[::2] for part in first.split(";"))
        if "TCP" in first:

            def send(channel: int) -> Callable[[bytes], None]:
                def send_one(data: bytes) -> None:
                    with suppress(OSError), lock:
                        client.sendall(b"$" + bytes([channel]) + len(data).to_bytes(2, "big") + data)

                return send_one

            return "200 OK", [f"Transport: {first}"], Viewer(send(0), send(1))
        rtp_port, _, rtcp_port = fields["client_port"].partition("-")
        ours = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        self._sockets += ours
        for one in ours:
            one.bind(("127.0.0.1", 0))
        self._start(self._listen, ours[1])

        def send_to(through: socket.socket, port: str) -> Callable[[bytes], None]:
            def send_one(data: bytes) -> None:
                with suppress(OSError):
                    through.sendto(data, ("127.0.0.1", int(port)))

            return send_one

        ports = f"{ours[0].getsockname()[1]}-{ours[1].getsockname()[1]}"
        viewer = Viewer(send_to(ours[0], rtp_port), send_to(ours[1], rtcp_port))
        return "200 OK", [f"Transport: {first};server_port={ports}"], viewer

    def _listen(self, reports: socket.socket) -> None:
        with suppress(OSError):
            while data := reports.recv(2048):
                self._asked(data)

    def _description(self) -> str:
        self._has_parameters.wait(5)
        sets = [base64.b64encode(one).decode() for one in self._parameters]
        if self.rules.codec == "h264":
            profile = self._parameters[0][1:4].hex()
            form = f"packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={','.join(sets)}"
        else:
            form = ";".join(
                f"sprop-{name}={one}" for name, one in zip(("vps", "sps", "pps"), sets, strict=False)
            )
        answers = self.rules.answers_requests
        return "\r\n".join(
            (
                "v=0",
                "o=- 1 1 IN IP4 127.0.0.1",
                "s=truth",
                "t=0 0",
                f"m=video 0 RTP/{'AVPF' if answers else 'AVP'} {PAYLOAD_TYPE}",
                "c=IN IP4 0.0.0.0",
                f"a=rtpmap:{PAYLOAD_TYPE} {self.rules.codec.upper()}/{CLOCK_RATE}",
                f"a=fmtp:{PAYLOAD_TYPE} {form}",
                *([f"a=rtcp-fb:{PAYLOAD_TYPE} nack pli"] if answers else []),
                "a=control:track1",
                "",
            )
        )
