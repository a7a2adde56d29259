"""The child process that decodes a network stream with FFmpeg, by PyAV: HTTP, or where GStreamer is absent.

``python -m danet_runtime.sources.ffmpeg_child FD`` reads the URI from its standard input (see
:mod:`danet_runtime.children.lifeline`) and writes frames to the file descriptor, as
:mod:`danet_runtime.sources.gdp` lays them out.

Not OpenCV: where a camera changes its size, that brings the pictures to the old one without a word.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from danet_runtime.children.lifeline import read_message
from danet_runtime.dependencies import PYAV, require
from danet_runtime.sources import gdp

_DAMAGED_IN_A_ROW = 10


def main(fd: int, uri: str) -> int:
    """Decode until the stream ends, or nobody reads any more."""
    av = require(PYAV, "reading a network stream")
    # Without: packets are kept back to be put in order, which a live stream does not need.
    options = {"rtsp_transport": "tcp", "fflags": "nobuffer"}
    try:
        container = av.open(uri, options=options)
    except (av.FFmpegError, ValueError) as error:
        print(f"ERROR: cannot open the stream: {error}; check address and credentials", file=sys.stderr)
        return 1
    if not container.streams.video:
        print("ERROR: the stream has no video", file=sys.stderr)
        return 1
    stream = container.streams.video[0]
    stream.thread_type = "SLICE"  # with threads by frame, each would be several frames late
    try:
        _forward(av, container, stream, fd)
    except av.FFmpegError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        pass
    return 0


def _forward(av: Any, container: Any, stream: Any, fd: int) -> None:  # noqa: ANN401 - of PyAV
    size_hw: tuple[int, int] | None = None
    damaged = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError as error:
            damaged += 1
            if damaged >= _DAMAGED_IN_A_ROW:
                raise
            print(f"a damaged picture was left out: {error}", file=sys.stderr)
            continue
        for frame in frames:
            damaged = 0
            picture = np.ascontiguousarray(frame.to_ndarray(format="bgr24"))
            if picture.shape[:2] != size_hw:
                size_hw = picture.shape[:2]
                caps = gdp.write_caps(size_hw, float(stream.average_rate or 0))
                gdp.write(fd, gdp.write_header(gdp.CAPS, len(caps)) + caps)
            gdp.write(fd, gdp.write_header(gdp.BUFFER, picture.nbytes))
            gdp.write(fd, memoryview(picture.data).cast("B"))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), read_message()[0]))
