"""A network camera on loopback that sends motion JPEG until it is told to fall silent."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np


class Mjpeg(http.server.BaseHTTPRequestHandler):
    """A camera that sends pictures while its server says so; then it accepts and says nothing."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, MjpegServer)
        if server.silent.is_set():
            server.asked.set()
            server.over.wait(60)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        number = 0
        while not server.silent.is_set():
            picture = np.full((48, 64, 3), 60 + number % 100, np.uint8)
            data = cv2.imencode(".jpg", picture)[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + data + b"\r\n")
            except OSError:
                return
            number += 1
            time.sleep(0.02)

    def log_message(self, *_: object) -> None:
        pass


class MjpegServer(http.server.ThreadingHTTPServer):
    """Serves :class:`Mjpeg` on loopback.

    Attributes:
        silent: Once set, nothing more is sent to anybody.
        asked: Set when somebody asks while it is silent.
        over: Set at the end; who was kept waiting is let go.
        uri: Where it is.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Mjpeg)
        self.silent, self.asked, self.over = threading.Event(), threading.Event(), threading.Event()
        self.uri = f"http://127.0.0.1:{self.server_port}/video"


@contextmanager
def serving() -> Iterator[MjpegServer]:
    """Runs one while the block runs."""
    server = MjpegServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.silent.set()
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
