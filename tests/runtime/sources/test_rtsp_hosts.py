"""A camera over RTSP that sends on to another host: not followed, unless that host was named."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import truth
from rtsp_camera import CameraRules, RtspCamera

from danet_runtime.errors import SourceError, UsageError
from danet_runtime.sources.gstreamer import has_element
from danet_runtime.sources.rtsp import RtspSource

pytestmark = pytest.mark.skipif(
    not has_element("rtspsrc") or not has_element("avdec_h264"), reason="GStreamer is not installed"
)

PUBLIC = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"


@contextmanager
def sending_on_to(address: str) -> Iterator[str]:
    """A server on a host of its own that answers every description with a redirection."""
    listener = socket.create_server(("127.0.0.2", 0))

    def serve() -> None:
        try:
            client, _ = listener.accept()
            with client, client.makefile("rb") as stream:
                while words := stream.readline().split():
                    number = b"0"
                    while line := stream.readline().strip():
                        key, _, value = line.partition(b":")
                        number = value.strip() if key.lower() == b"cseq" else number
                    is_asked = words[0] == b"DESCRIBE"
                    answer = f"302 Moved\r\nLocation: {address}" if is_asked else f"200 OK\r\n{PUBLIC}"
                    client.sendall(f"RTSP/1.0 {answer}\r\nCSeq: {number.decode()}\r\n\r\n".encode())
        except OSError:
            pass  # the test is over

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"rtsp://127.0.0.2:{listener.getsockname()[1]}/live"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def test_a_camera_that_sends_on_to_another_host_is_not_followed_and_that_host_hears_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"rtsp://127.0.0.1:{other.getsockname()[1]}/truth"
        with (
            sending_on_to(address) as uri,
            pytest.raises(SourceError, match=r"sends on to the host '127\.0\.0\.1'.*add #hosts=127\.0\.0\.1"),
        ):
            RtspSource(uri)
        other.setblocking(False)
        with suppress(BlockingIOError):  # it may have been connected to, and no more
            heard, _ = other.accept()
            with heard:
                assert heard.recv(1000) == b""


@pytest.mark.parametrize("hosts", ["127.0.0.1", "elsewhere,127.0.0.1", "*"])
def test_a_host_that_was_named_is_followed(hosts: str) -> None:
    with RtspCamera(CameraRules(key_every=10)) as camera, sending_on_to(camera.uri) as uri:
        source = RtspSource(f"{uri}#hosts={hosts}")
        buffer = np.empty((*source.size_hw, 3), np.uint8)
        source.read_into(buffer)
        source.close()
        assert truth.read(buffer) is not None


def test_anything_else_behind_the_address_is_refused() -> None:
    with pytest.raises(UsageError, match="expected hosts=HOST,HOST"):
        RtspSource("rtsp://127.0.0.1/live#verify=yes", is_open=False)
