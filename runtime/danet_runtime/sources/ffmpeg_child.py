"""The child process that decodes a network stream with OpenCV's FFmpeg: HTTP, or where GStreamer is absent.

``python -m danet_runtime.sources.ffmpeg_child FD`` reads the URI from its standard input (see
:mod:`danet_runtime.children.lifeline`) and writes frames to the file descriptor, as
:mod:`danet_runtime.sources.gdp` lays them out.
"""

from __future__ import annotations

import sys

from danet_runtime.children.lifeline import read_message
from danet_runtime.dependencies import opencv
from danet_runtime.sources import gdp

_DAMAGED_IN_A_ROW = 10  # OpenCV tells a damaged picture and the end of the stream in the same way


def main(fd: int, uri: str) -> int:
    """Decode until the stream ends, or nobody reads any more."""
    cv2 = opencv("reading a network stream")
    capture = cv2.VideoCapture(uri, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        print("ERROR: FFmpeg cannot open the stream; check the address and the credentials", file=sys.stderr)
        return 1
    size_hw: tuple[int, int] | None = None
    damaged = 0
    while damaged < _DAMAGED_IN_A_ROW:
        ok, frame = capture.read()
        if not ok:
            damaged += 1
            continue
        damaged = 0
        try:
            if frame.shape[:2] != size_hw:
                size_hw = frame.shape[:2]
                caps = gdp.write_caps(frame.shape[:2], capture.get(cv2.CAP_PROP_FPS))
                gdp.write(fd, gdp.write_header(gdp.CAPS, len(caps)) + caps)
            gdp.write(fd, gdp.write_header(gdp.BUFFER, frame.nbytes))
            gdp.write(fd, memoryview(frame).cast("B"))
        except BrokenPipeError:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), read_message()[0]))
