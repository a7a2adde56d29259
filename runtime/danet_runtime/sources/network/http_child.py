"""The child process that reads http:// and https://: motion JPEG by itself, all else through FFmpeg, by PyAV.

Started by :mod:`danet_runtime.processes.start` with a file descriptor, it reads the URI from its standard
input (see :mod:`danet_runtime.processes.lifeline`) and writes frames, as
:mod:`danet_runtime.sources.protocol.gdp` lays them out. FFmpeg has no protocol of its own here: what a stream
names (the segments of a playlist, other files) is opened by
:class:`danet_runtime.sources.network.http_client.HttpClient` or not at all, and only formats of video are
read, none that lists files of this machine.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from danet_runtime.dependencies import PYAV, require
from danet_runtime.errors import DanetError, SourceError
from danet_runtime.processes.lifeline import read_message
from danet_runtime.sources.network.arrival import Arrival
from danet_runtime.sources.network.forwarding import VideoForwarding
from danet_runtime.sources.network.http_address import HttpAddress
from danet_runtime.sources.network.http_client import HttpBody, HttpClient
from danet_runtime.sources.network.motion_jpeg import MotionJpeg

MOST_PLAYLIST_BYTES: Final = 4 << 20
"""The most bytes of a playlist; those of a day in segments of two seconds have less."""

_PLAYLISTS: Final = (".m3u8", ".m3u")
_OPTIONS: Final = {
    "protocol_whitelist": "none",
    "format_whitelist": "hls,mpegts,mov,mp4,m4a,3gp,3g2,mj2,flv,live_flv,matroska,webm,ogg,avi,asf,mjpeg,"
    "jpeg_pipe,h264,hevc,m4v,mpegvideo,ivf,aac,mp3,ac3,eac3",
    # Each segment of a playlist is asked for like the playlist itself, the newest first. What it is called
    # says nothing: no file is opened for it.
    "live_start_index": "-1",
    "http_persistent": "0",
    "http_multiple": "0",
    "allowed_extensions": "ALL",
    "allowed_segment_extensions": "ALL",
    "extension_picky": "0",
}


def main(fd: int, uri: str) -> int:
    """Decode until the stream ends, or nobody reads any more."""
    av = require(PYAV, "reading a network stream")
    try:
        client = HttpClient(HttpAddress.of(uri))
        body = client.open()
        if body.content_type.startswith("multipart/") or body.begins_with(b"--"):
            return MotionJpeg(av, body, fd).run()
        stream = _Stream(av, client, body)
    except (DanetError, av.FFmpegError, OSError, ValueError) as error:
        print(f"ERROR: cannot open the stream: {error}; check address and credentials", file=sys.stderr)
        return 1
    return VideoForwarding(av, stream.container, fd, stream.arrival_of).run()


class _Stream:
    """A body that FFmpeg reads, and what it names.

    Attributes:
        container: PyAV's open container.
    """

    def __init__(self, av: Any, client: HttpClient, body: HttpBody) -> None:  # noqa: ANN401
        self._is_playlist = _limited(body)
        self._client = client
        self._newest = body
        try:
            self.container = av.open(
                body, format="hls" if self._is_playlist else None, options=_OPTIONS, io_open=self._open
            )
        except (av.error.InvalidDataError, av.error.ArgumentError) as error:  # not known, not allowed
            sent = body.content_type or "something without a type"
            raise SourceError(
                f"{error.strerror}; expected motion JPEG (multipart/x-mixed-replace), a playlist of HLS, "
                f"or a video in a container; the camera sends {sent}"
            ) from error

    def arrival_of(self, packet: Any) -> Arrival:  # noqa: ANN401
        """When a packet's first byte came; those of a playlist come by the segment."""
        return self._newest.arrival_of(None if self._is_playlist else packet.pos)

    def _open(self, url: str, _flags: int, options: dict[str, str]) -> HttpBody | io.BytesIO:
        """Open an address of a playlist; an empty body on failure, so that FFmpeg goes on to the next."""
        begin, end = int(options.get("offset", 0)), int(options.get("end_offset", 0))
        headers = {"Range": f"bytes={begin}-{end - 1 if end else ''}"} if begin or end else {}
        try:
            self._newest = self._client.open(url, headers)
            _limited(self._newest)
        except SourceError as error:
            # FFmpeg would pass over it and ask for the next, and the next.
            print(f"ERROR: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        except OSError as error:
            print(f"a part of the stream was left out: {error}", file=sys.stderr)
            return io.BytesIO()
        return self._newest


def _limited(body: HttpBody) -> bool:
    """Whether it is a playlist; FFmpeg would read on in one for as long as it goes on."""
    path = PurePosixPath(urlsplit(body.name).path)
    is_playlist = "mpegurl" in body.content_type or path.suffix.lower() in _PLAYLISTS
    if is_playlist:
        body.limit(MOST_PLAYLIST_BYTES)
    return is_playlist


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), read_message()[0]))
