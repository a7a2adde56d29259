"""The child process that decodes RTSP with FFmpeg, by PyAV, where GStreamer is absent.

Started by :mod:`danet_runtime.processes.start` with a file descriptor, it reads the URI from its standard
input (see :mod:`danet_runtime.processes.lifeline`) and writes frames, as
:mod:`danet_runtime.sources.protocol.gdp` lays them out. Over TCP alone: FFmpeg tells PyAV nothing of packets
that are lost on UDP.

Not OpenCV: where a camera changes its size, that brings the pictures to the old one without a word.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from danet_runtime.clock import now_ns
from danet_runtime.dependencies import PYAV, require
from danet_runtime.processes.lifeline import read_message
from danet_runtime.sources.network.arrival import Arrival
from danet_runtime.sources.network.forwarding import VideoForwarding

_PARSED: Final = ("h264", "hevc")
_OPTIONS: Final = {
    "rtsp_transport": "tcp",
    "protocol_whitelist": "rtsp,rtp,srtp,tcp,tls",
    # Without: packets are kept back to be put in order, which a live stream does not need.
    "fflags": "nobuffer",
}


def main(fd: int, uri: str) -> int:
    """Decode until the stream ends, or nobody reads any more."""
    av = require(PYAV, "reading a network stream")
    try:
        container = av.open(uri, format="rtsp", options=_OPTIONS)
    except (av.FFmpegError, ValueError) as error:
        print(f"ERROR: cannot open the stream: {error}; check address and credentials", file=sys.stderr)
        return 1
    return VideoForwarding(av, container, fd, _Arrivals()).run()


class _Arrivals:
    """When packets came: FFmpeg's parsers give one away once they see the beginning of the next."""

    def __init__(self) -> None:
        self._before_ns: int | None = None

    def __call__(self, packet: Any) -> Arrival:  # noqa: ANN401
        """When the first byte of a packet came, that has just been given away."""
        now = now_ns()
        before_ns, self._before_ns = self._before_ns, now
        if before_ns is None or packet.stream.codec_context.name not in _PARSED:
            return Arrival(now)
        return Arrival(before_ns)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), read_message()[0]))
