"""Sources through GStreamer, in a child process: network cameras, CSI cameras of a Jetson, any pipeline.

pip's OpenCV has no GStreamer, and a pipeline can hang where no timeout reaches it; in a child it has the
hardware decoders of the system's GStreamer, and can be ended.
"""

from __future__ import annotations

import functools
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from danet_runtime.errors import MissingDependencyError, UsageError
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.gstreamer.picture_flow import SINK
from danet_runtime.processes.start import module_command
from danet_runtime.sources.live.sender_clock import SenderClock
from danet_runtime.sources.live.source import START_S, LiveSource
from danet_runtime.sources.network.http_address import HttpAddress
from danet_runtime.sources.protocol.damage import DamagePolicy
from danet_runtime.sources.protocol.gdp import Packet
from danet_runtime.sources.protocol.source import CaptureClock
from danet_runtime.sources.protocol.uri import NETWORK_SCHEMES, Redaction, check_address, redacted

INSPECT: Final = "gst-inspect-1.0"
GSTREAMER_CHILD: Final = "danet_runtime.gstreamer.child"
"""The module that runs a pipeline whose words it reads from its standard input."""

_REORDER_MS: Final = 50
"""So long a packet that others have overtaken is awaited; nothing else waits for it."""

_INSTALL = (
    "install GStreamer's tools, e.g. apt install gstreamer1.0-tools gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-libav"
)


class ChildSource(LiveSource):
    """Frames of a URI through a child process; see :class:`danet_runtime.sources.protocol.source.Source`.

    Capture times come from the stream's timestamps where it has any, and from the clock of a sender that
    reports it, by a :class:`danet_runtime.sources.live.sender_clock.SenderClock`.

    All of these are cameras: what ends is opened again. A pipeline that comes to an end by itself
    (``num-buffers``, ``filesrc``) therefore begins anew, again and again; give a file by its path.

    Args:
        uri: ``rtsp://``, ``rtsps://`` (``#hosts=HOST,HOST`` behind it names hosts that the camera may send on
            to; else only its own is asked), ``http(s)://``
            (:class:`danet_runtime.sources.network.http_address.HttpAddress`), ``csi://N``, or
            ``gst:PIPELINE`` whose pipeline ends with a source of video that ``videoconvert`` takes.
        start_s: The first frame must have come by then.
        pixels: The format that is wanted. GStreamer hands frames through that have it already, and converts
            others; what FFmpeg decodes stays BGR. :attr:`pixels` is what comes, with the matrix and range
            that the stream says of itself.
        damaged: What becomes of frames that are known or likely to be corrupt.
        is_open: Whether to open it now; :meth:`reopen` does it later.

    Raises:
        SourceError: It gives no frames, or frames of a size that the format does not have; what GStreamer
            says is in the message, without credentials.
        UsageError: The URI makes no sense.
        MissingDependencyError: GStreamer is not installed.
    """

    def __init__(
        self,
        uri: str,
        start_s: float = START_S,
        pixels: Pixels = BGR,
        damaged: DamagePolicy = "drop",
        *,
        is_open: bool = True,
    ) -> None:
        redact = Redaction(uri)
        super().__init__(redact.shown, redact, pixels, start_s, damaged)
        self._uri = uri
        self._starting = _command(uri, pixels, damaged)
        if self._starting[2] == "ffmpeg":
            self.pixels = BGR
        self._begin()
        if is_open:
            self.reopen()

    def describe(self) -> dict[str, Any]:
        """URI without credentials, size, rate, pixel format and decoder."""
        return {
            "kind": self._uri.partition(":")[0],
            "uri": self.name,
            **super().describe(),
            "decoder": self._starting[2],
        }

    def _command(self) -> tuple[Sequence[str], Sequence[str]]:
        return self._starting[:2]

    def _begin(self) -> None:
        self._clock = SenderClock(self.name)

    def _capture_time(self, packet: Packet, now_ns: int) -> tuple[int, CaptureClock]:
        arrival_ns = now_ns if packet.arrival_ns is None else packet.arrival_ns
        if packet.time_ns is None:
            return arrival_ns, "arrival"
        return self._clock.capture_ns(packet.time_ns, packet.sender_unix_ns, arrival_ns)


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
        plain, _ = _hosts_of(uri)
        head = f'rtspsrc location="{plain}" buffer-mode=slave latency={_REORDER_MS} ! decodebin'
    return f"{head} ! {to_memory}videoconvert ! {caps}"


def _hosts_of(uri: str) -> tuple[str, tuple[str, ...]]:
    """An address of RTSP without what is behind its ``#``, and the hosts that may be asked."""
    check_address(uri)
    plain, _, fragment = uri.partition("#")
    key, _, more = fragment.partition("=")
    if fragment and key != "hosts":
        raise UsageError(
            f"{redacted(uri)!r}: behind the # expected hosts=HOST,HOST; encode a # of the address as %23"
        )
    own = (urlsplit(plain).hostname or "").lower()
    return plain, (own, *(host.strip().lower() for host in more.split(",") if host.strip()))


def _words(pipeline: str, uri: str) -> list[str]:
    try:
        return shlex.split(pipeline)
    except ValueError as error:
        raise UsageError(f"{redacted(uri)!r}: {error}; check the quotes") from error


def _command(uri: str, pixels: Pixels, damaged: DamagePolicy) -> tuple[Sequence[str], Sequence[str], str]:
    """What to start, what to write to its standard input, and what decodes."""
    scheme = uri.partition(":")[0]
    if scheme in ("http", "https"):  # a client of its own keeps to the camera's host
        HttpAddress.of(uri)
        return module_command("danet_runtime.sources.network.http_child", "{fd}"), (uri,), "ffmpeg"
    hosts: tuple[str, ...] = ()
    plain = uri
    if scheme in NETWORK_SCHEMES:
        plain, hosts = _hosts_of(uri)
    has_gstreamer = shutil.which(INSPECT) is not None
    if has_gstreamer:
        pipeline = f"{pipeline_of(uri, pixels)} ! fakesink name={SINK} sync=false enable-last-sample=false"
        return module_command(GSTREAMER_CHILD, "{fd}", damaged, *hosts), _words(pipeline, uri), "gstreamer"
    if scheme in NETWORK_SCHEMES:
        return module_command("danet_runtime.sources.network.ffmpeg_child", "{fd}"), (plain,), "ffmpeg"
    raise MissingDependencyError("GStreamer with gst-inspect-1.0", f"{scheme}:", _INSTALL)
