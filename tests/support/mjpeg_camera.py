"""A camera on loopback that sends motion JPEG over HTTP."""

from __future__ import annotations

import http.server
import socket
import threading
from types import TracebackType

import cv2
import numpy as np


class _Pictures(http.server.BaseHTTPRequestHandler):
    timeout = 5.0  # for a client that neither asks nor reads

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, MjpegCamera)
        if server.silent.is_set():
            server.asked.set()
            server.over.wait(60)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        number = 0
        while not server.over.wait(0.02) and not server.silent.is_set():
            number += 1
            picture = np.full((*server.size_hw, 3), 60 + number % 100, np.uint8)
            data = cv2.imencode(".jpg", picture)[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + data + b"\r\n")
            except OSError:
                return

    def log_message(self, *_: object) -> None:
        pass


class MjpegCamera(http.server.ThreadingHTTPServer):
    """Sends grey pictures without end while its block runs.

    Args:
        port: To listen on; by default one that is free.
        size_hw: Size of its pictures; may be changed at any time.

    Attributes:
        silent: Once set, it sends nothing more: connections end, and new ones are accepted without a word.
        asked: Set when somebody asks while it is silent.
        over: Set at the end; who was kept waiting is let go.
    """

    daemon_threads = False  # closing waits for them, so that no connection is left

    def __init__(self, port: int = 0, size_hw: tuple[int, int] = (48, 64)) -> None:
        super().__init__(("127.0.0.1", port), _Pictures)
        self.size_hw = size_hw
        self.silent, self.asked, self.over = threading.Event(), threading.Event(), threading.Event()
        self.uri = uri_of(self.server_port)
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    def __enter__(self) -> MjpegCamera:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()
        self._thread.join(5)


def uri_of(port: int) -> str:
    """Where a camera on a port is."""
    return f"http://127.0.0.1:{port}/video"


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
