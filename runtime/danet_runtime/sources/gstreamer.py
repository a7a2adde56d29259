"""Sources through GStreamer, in a child process: network cameras, CSI cameras of a Jetson, any pipeline.

pip's OpenCV has no GStreamer, and a pipeline can hang where no timeout reaches it; in a child it has the
hardware decoders of the system's GStreamer, and can be ended.
"""

from __future__ import annotations

import functools
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from danet_runtime.backends.base import UInt8Array
from danet_runtime.errors import MissingDependencyError, SourceError, UsageError
from danet_runtime.pixel_formats import BGR, Pixels
from danet_runtime.sources.base import CaptureClock, FrameInfo
from danet_runtime.sources.child import FrameChild
from danet_runtime.sources.uri import NETWORK_SCHEMES, Redaction, check_address, redacted

INSPECT: Final = "gst-inspect-1.0"
GSTREAMER_CHILD: Final = (sys.executable, "-m", "danet_runtime.children.gstreamer")
"""What runs a pipeline whose words it reads from its standard input."""

_INSTALL = (
    "install GStreamer's tools, e.g. apt install gstreamer1.0-tools gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-libav"
)
_START_S = 10.0
_DRIFT = 1e-4
"""Clocks of cameras may be slower than this machine's by so much."""


class ChildSource:
    """Frames of a URI through a child process; see :class:`danet_runtime.sources.base.Source`.

    Capture times come from the stream's timestamps where it has any. Those count from the stream's own start,
    so the smallest delay between timestamp and arrival that was seen is taken for none: a frame that came
    later than its fellows is older by that, while a delay that all share is not seen.

    Args:
        uri: ``rtsp://``, ``rtsps://``, ``http(s)://``, ``csi://N``, or ``gst:PIPELINE`` whose pipeline ends
            with a source of video that ``videoconvert`` takes.
        start_s: The first frame must have come by then.
        pixels: The format that is wanted. GStreamer hands frames through that have it already, and converts
            others; what FFmpeg decodes stays BGR. :attr:`pixels` is what comes, with the matrix and range
            that the stream says of itself.

    Raises:
        SourceError: It gives no frames, or frames of a size that the format does not have; what GStreamer
            says is in the message, without credentials.
        MissingDependencyError: GStreamer is not installed.
    """

    live = True
    count: int | None = None

    def __init__(self, uri: str, start_s: float = _START_S, pixels: Pixels = BGR) -> None:
        self._uri = uri
        self._wanted = pixels
        self._redact = Redaction(uri)
        self._shown = self._redact.shown
        self._start_s = start_s
        self._child: FrameChild | None = None
        self.reopen()

    def reopen(self) -> None:
        """Start the child again; see :class:`danet_runtime.sources.base.Source`."""
        self.close()
        command, words, self._decoder = _command(self._uri, self._wanted)
        # Known before it has told its format, so that it can be interrupted while it says nothing.
        child = self._child = FrameChild(command, self._shown, self._redact, words)
        try:
            child.await_format(self._start_s)
        except BaseException:
            self.close()
            raise
        self._read = 0
        self._offset_ns: int | None = None
        self._last_ns = 0
        self.size_hw = child.format.size_hw
        self.fps = child.format.fps
        self.pixels = child.format.pixels(self._wanted)
        if fault := self.pixels.fault(self.size_hw):
            self.close()
            raise SourceError(f"{self._shown}: {fault}; open it without a pixel format")

    def interrupt(self) -> None:
        """End the child, so that a read or an opening that waits for it fails."""
        child = self._child
        if child is not None:
            child.kill()

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        """Wait for the next frame and write it in place.

        Raises:
            SourceError: The child has ended, the size changed, or the source is closed.
        """
        if self._child is None:
            raise SourceError(f"{self._shown} is closed; open it again")
        time_ns = self._child.read_into(buffer)
        capture_ns, clock = self._capture_time(time_ns, time.monotonic_ns())
        info = FrameInfo(self._read, capture_ns, clock=clock)
        self._read += 1
        return info

    def describe(self) -> dict[str, Any]:
        """URI without credentials, size, rate, pixel format and decoder."""
        return {
            "kind": self._uri.partition(":")[0],
            "uri": self._shown,
            "size_hw": list(self.size_hw),
            "fps": self.fps,
            "live": self.live,
            "pixels": str(self.pixels),
            "decoder": self._decoder,
        }

    def close(self) -> None:
        """End the child; harmless when called twice."""
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def _capture_time(self, time_ns: int | None, now_ns: int) -> tuple[int, CaptureClock]:
        if time_ns is None:
            return now_ns, "arrival"
        offset = now_ns - time_ns
        if self._offset_ns is None:
            self._offset_ns = offset
        else:
            drifted = self._offset_ns + int(_DRIFT * max(0, now_ns - self._last_ns))
            self._offset_ns = min(drifted, offset)
        self._last_ns = now_ns
        return time_ns + self._offset_ns, "stream"


@functools.cache
def has_element(name: str) -> bool:
    """Whether GStreamer is here and has an element."""
    inspect = shutil.which(INSPECT)
    if inspect is None:
        return False
    return subprocess.run([inspect, "--exists", name], check=False, capture_output=True).returncode == 0


def pipeline_of(uri: str, pixels: Pixels = BGR) -> str:
    """The GStreamer pipeline of a URI, up to frames of a format in memory.

    ``videoconvert`` hands through what has the format already.

    Raises:
        UsageError: The URI names no source that GStreamer serves here.
    """
    scheme, _, rest = uri.partition(":")
    # On a Jetson frames are in the memory of its video engine; its own converter brings them out.
    caps = f"video/x-raw,format={pixels.format.upper()}"
    from_engine = "video/x-raw,format=BGRx" if pixels.format == "bgr" else caps  # it has no BGR of 3 bytes
    to_memory = f"nvvidconv ! {from_engine} ! " if has_element("nvvidconv") else ""
    if scheme == "gst":
        if not rest.strip():
            raise UsageError("gst: needs a pipeline, e.g. 'gst:videotestsrc is-live=true'")
        head, to_memory = rest.strip().rstrip("!").strip(), ""
    elif scheme == "csi":
        sensor = rest.lstrip("/")
        if not sensor.isdecimal():
            raise UsageError(f"{redacted(uri)!r}: expected csi://N with the number of the sensor")
        head = f"nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM)"
    else:
        check_address(uri)
        head = f'rtspsrc location="{uri}" latency=0 drop-on-latency=true ! decodebin'
    return f"{head} ! {to_memory}videoconvert ! {caps}"


def _words(pipeline: str, uri: str) -> list[str]:
    try:
        return shlex.split(pipeline)
    except ValueError as error:
        raise UsageError(f"{redacted(uri)!r}: {error}; check the quotes") from error


def _command(uri: str, pixels: Pixels) -> tuple[Sequence[str], Sequence[str], str]:
    """What to start, what to write to its standard input, and what decodes."""
    scheme = uri.partition(":")[0]
    if scheme in NETWORK_SCHEMES:
        check_address(uri)
    has_gstreamer = shutil.which(INSPECT) is not None and has_element("gdppay")
    # Motion JPEG over HTTP goes through FFmpeg: GStreamer's decoder ends at the first damaged picture.
    if has_gstreamer and scheme not in ("http", "https"):
        pipeline = f"{pipeline_of(uri, pixels)} ! gdppay ! fdsink fd={{fd}} sync=false"
        return GSTREAMER_CHILD, _words(pipeline, uri), "gstreamer"
    if scheme in NETWORK_SCHEMES:
        return (sys.executable, "-m", "danet_runtime.sources.ffmpeg_child", "{fd}"), (uri,), "ffmpeg"
    raise MissingDependencyError("GStreamer with gst-inspect-1.0 and gdppay", f"{scheme}:", _INSTALL)
