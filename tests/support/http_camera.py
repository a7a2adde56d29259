"""An HTTP server on loopback whose answers a test writes itself, its videos, and a source that reads them."""

from __future__ import annotations

import http.server
import io
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import truth

from danet_runtime.sources import FrameInfo, open_source
from danet_runtime.sources.http import HttpSource


class Asked(http.server.BaseHTTPRequestHandler):
    """One request; :attr:`HttpCamera.answers` write to it."""

    timeout = 5.0
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        camera = self.server
        assert isinstance(camera, HttpCamera)
        self.close_connection = True
        camera.asked.append((self.path, dict(self.headers)))
        answer = camera.answers.get(self.path.partition("?")[0])
        with suppress(OSError):
            if answer is None:
                self.send_error(404)
            else:
                answer(self)

    def begin(self, content_type: str, **headers: str) -> None:
        """Say that it is there, and what."""
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def until_over(self, seconds: float) -> bool:
        """Wait; whether the camera is to go on."""
        assert isinstance(self.server, HttpCamera)
        return not self.server.over.wait(seconds)

    def log_message(self, *_: object) -> None:
        pass


class HttpCamera(http.server.ThreadingHTTPServer):
    """Serves while its block runs.

    Args:
        answers: By path.
        host: To listen on; all of 127.0.0.0/8 is here.
        certificate: A file with it and its key, for https.

    Attributes:
        asked: Path and headers of each request.
        over: Set at the end.
    """

    daemon_threads = False

    def __init__(
        self,
        answers: Mapping[str, Callable[[Asked], None]],
        host: str = "127.0.0.1",
        certificate: Path | None = None,
    ) -> None:
        super().__init__((host, 0), Asked)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.answers = dict(answers)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.over = threading.Event()
        self.host = f"{host}:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    def __enter__(self) -> HttpCamera:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()
        self._thread.join(5)


def answer(body: bytes, content_type: str) -> Callable[[Asked], None]:
    """An answer that is whole."""

    def write(asked: Asked) -> None:
        asked.begin(content_type, Content_Length=str(len(body)))
        asked.wfile.write(body)

    return write


def redirect(to: str, code: int = 302) -> Callable[[Asked], None]:
    """An answer that sends on."""

    def write(asked: Asked) -> None:
        asked.send_response(code)
        asked.send_header("Location", to)
        asked.send_header("Content-Length", "0")
        asked.end_headers()

    return write


def pictures(
    draw: Callable[[int], bytes], *, pause_s: float = 0.02, headers: Callable[[], Mapping[str, str]] = dict
) -> Callable[[Asked], None]:
    """Motion JPEG of what ``draw`` gives for each number, without end."""

    def write(asked: Asked) -> None:
        asked.begin('multipart/x-mixed-replace; boundary="frame"')
        number = 0
        while asked.until_over(pause_s):
            data = draw(number)
            lines = {"Content-Type": "image/jpeg", "Content-Length": str(len(data)), **headers()}
            head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
            asked.wfile.write(f"--frame\r\n{head}\r\n".encode() + data + b"\r\n")
            number += 1

    return write


def true_jpeg(number: int) -> bytes:
    """A picture of the truth, drawn now."""
    import cv2

    return bytes(cv2.imencode(".jpg", truth.draw(number))[1])


def true_video(frames: int, gop: int, codec: str = "libx264", **options: str) -> bytes:
    """MPEG-TS of pictures of the truth, 25 a second.

    Args:
        frames: Number of frames.
        gop: From one key frame to the next.
        codec: FFmpeg's name of it.
        options: Options of the encoder.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="mpegts") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.height, stream.width = truth.SIZE_HW
        stream.pix_fmt = "yuv420p"
        stream.gop_size = gop
        stream.options = {"crf": "12", "preset": "ultrafast", "sc_threshold": "0", **options}
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(truth.draw(number, number * 40_000_000 + 1000), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def played(video: bytes, seconds: float) -> Callable[[Asked], None]:
    """A video of so many seconds, at its own pace, then nothing more."""

    def write(asked: Asked) -> None:
        asked.begin("video/mp2t")
        steps = max(1, round(seconds / 0.02))
        for step in range(steps):
            asked.wfile.write(video[len(video) * step // steps : len(video) * (step + 1) // steps])
            if not asked.until_over(0.02):
                return
        asked.until_over(60)

    return write


@contextmanager
def serving(**answers: Callable[[Asked], None]) -> Iterator[str]:
    """One camera; the addresses of its answers are this and their names."""
    with HttpCamera({f"/{name}": write for name, write in answers.items()}) as camera:
        yield f"http://{camera.host}/"


@contextmanager
def opened(uri: str, **options: object) -> Iterator[HttpSource]:
    """A source of this address, closed at the end."""
    source = open_source(uri, **options)  # type: ignore[arg-type]
    assert isinstance(source, HttpSource)
    try:
        yield source
    finally:
        source.close()


def read(source: HttpSource) -> tuple[FrameInfo, truth.Truth | None]:
    """The next picture: what is known of it, and what it shows."""
    buffer = np.empty((*source.size_hw, 3), np.uint8)
    info = source.read_into(buffer)
    assert info is not None
    return info, truth.read(buffer)
