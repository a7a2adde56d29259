"""Sources through GStreamer, in a child process: CSI cameras of a Jetson, and any pipeline.

pip's OpenCV has no GStreamer, and a pipeline can hang where no timeout reaches it; in a child it has the
hardware decoders of the system's GStreamer, and can be ended.
"""

from __future__ import annotations

import functools
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any, ClassVar, Final, NamedTuple

from danet_runtime.dependencies import GSTREAMER, require_program
from danet_runtime.errors import UsageError
from danet_runtime.frames.pixel_formats import BGR, Pixels
from danet_runtime.gstreamer.picture_flow import SINK
from danet_runtime.processes.start import module_command
from danet_runtime.sources.live.sender_clock import SenderClock
from danet_runtime.sources.live.source import START_S, LiveSource
from danet_runtime.sources.protocol.damage import DamagePolicy
from danet_runtime.sources.protocol.gdp import Packet
from danet_runtime.sources.protocol.source import CaptureClock
from danet_runtime.sources.protocol.statement import SourceStatement, Wanted
from danet_runtime.sources.protocol.uri import Redaction, redacted

GSTREAMER_CHILD: Final = "danet_runtime.gstreamer.child"
"""The module that runs a pipeline whose words it reads from its standard input."""


class ChildCommand(NamedTuple):
    """The command and input with which a child process is started.

    Attributes:
        command: Command to start; ``{fd}`` in it becomes the number of the pipe to write to.
        words: Words for the child's standard input, which nobody else sees.
        decoder: Name of the decoder in the child: ``gstreamer`` or ``ffmpeg``.
    """

    command: Sequence[str]
    words: Sequence[str]
    decoder: str


class ChildSource(LiveSource):
    """Frames of a URI through a child process; see :class:`danet_runtime.sources.protocol.source.Source`.

    Subclasses say which, by :meth:`child_command`. Capture times come from the stream's timestamps where it
    has any, and from the clock of a sender that reports it, by a
    :class:`danet_runtime.sources.live.sender_clock.SenderClock`.

    All of these are cameras: what ends is opened again.

    Args:
        uri: Text that names the camera, with its scheme.
        start_s: Time in seconds within which the first frame must have come.
        pixels: The format that is wanted. GStreamer hands frames through that have it already, and converts
            others; what FFmpeg decodes stays BGR. :attr:`pixels` is what comes, with the matrix and range
            that the stream says of itself.
        damaged: How frames are treated that are known or likely to be corrupt.
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
        self._starting = self.child_command(uri, pixels, damaged)
        if self._starting.decoder == "ffmpeg":
            self.pixels = BGR
        self._begin()
        if is_open:
            self.reopen()

    @classmethod
    def named(cls, text: str, wanted: Wanted) -> ChildSource:
        """The camera of a URI, not opened yet."""
        return cls(text, pixels=wanted.pixels, damaged=wanted.damaged, is_open=False)

    @staticmethod
    def child_command(uri: str, pixels: Pixels, damaged: DamagePolicy) -> ChildCommand:
        """Return the command of the child that reads a URI.

        Raises:
            UsageError: The URI makes no sense.
            MissingDependencyError: A program or library that it needs is not installed.
        """
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """URI without credentials, size, rate, pixel format and decoder."""
        return {
            "kind": self._uri.partition(":")[0],
            "uri": self.name,
            **super().describe(),
            "decoder": self._starting.decoder,
        }

    def _command(self) -> tuple[Sequence[str], Sequence[str]]:
        return self._starting.command, self._starting.words

    def _begin(self) -> None:
        self._clock = SenderClock(self.name)

    def _capture_time(self, packet: Packet, now_ns: int) -> tuple[int, CaptureClock]:
        arrival_ns = now_ns if packet.arrival_ns is None else packet.arrival_ns
        if packet.time_ns is None:
            return arrival_ns, "arrival"
        return self._clock.capture_ns(packet.time_ns, packet.sender_unix_ns, arrival_ns)


class CsiSource(ChildSource):
    """A camera at a CSI connector of a Jetson, by its number: ``csi://0``; see :class:`ChildSource`."""

    statement: ClassVar = SourceStatement(
        name="csi",
        form="csi://0",
        help="a CSI camera of a Jetson",
        needs=((GSTREAMER,),),
        schemes=("csi",),
        is_awaited=True,
    )

    @staticmethod
    def child_command(uri: str, pixels: Pixels, damaged: DamagePolicy) -> ChildCommand:
        """See :class:`ChildSource`."""
        require_program(GSTREAMER, "csi:")
        sensor = uri.partition(":")[2].lstrip("/")
        if not sensor.isdecimal():
            raise UsageError(f"{redacted(uri)!r}: expected csi://N with the number of the sensor")
        head = f"nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM)"
        return gstreamer_command(f"{head} ! {out_of_engine(pixels)}", uri, pixels, damaged)


class PipelineSource(ChildSource):
    """The frames of a GStreamer pipeline: ``gst:PIPELINE``; see :class:`ChildSource`.

    The pipeline ends with a source of video that ``videoconvert`` takes. One that comes to an end by itself
    (``num-buffers``, ``filesrc``) begins anew, again and again; give a file by its path.
    """

    statement: ClassVar = SourceStatement(
        name="pipeline",
        form="gst:PIPELINE",
        help="any pipeline of GStreamer that ends with video",
        needs=((GSTREAMER,),),
        schemes=("gst",),
        is_awaited=True,
    )

    @staticmethod
    def child_command(uri: str, pixels: Pixels, damaged: DamagePolicy) -> ChildCommand:
        """See :class:`ChildSource`."""
        require_program(GSTREAMER, "gst:")
        pipeline = uri.partition(":")[2].strip().rstrip("!").strip()
        if not pipeline:
            raise UsageError("gst: needs a pipeline, e.g. 'gst:videotestsrc is-live=true'")
        return gstreamer_command(f"{pipeline} ! ", uri, pixels, damaged)


@functools.cache
def has_element(name: str) -> bool:
    """Whether GStreamer is here and has an element."""
    inspect = shutil.which(GSTREAMER.program)
    if inspect is None:
        return False
    return subprocess.run([inspect, "--exists", name], check=False, capture_output=True).returncode == 0


def out_of_engine(pixels: Pixels) -> str:
    """Return the pipeline part that fetches frames from a Jetson's video engine; empty on other machines."""
    # Its own converter has no BGR of 3 bytes.
    form = "BGRx" if pixels.format == "bgr" else pixels.format.upper()
    return f"nvvidconv ! video/x-raw,format={form} ! " if has_element("nvvidconv") else ""


def gstreamer_command(
    head: str, uri: str, pixels: Pixels, damaged: DamagePolicy, hosts: Sequence[str] = ()
) -> ChildCommand:
    """Return the command of a child that runs a pipeline.

    Args:
        head: The pipeline up to raw video, with the ``!`` behind it; ``videoconvert`` follows, which hands
            through what has the format already.
        uri: The text that the pipeline was made of, for errors.
        pixels: The format that is wanted.
        damaged: How frames are treated that are known or likely to be corrupt.
        hosts: Names of the hosts that an RTSP source in it may ask; where there is none, any.

    Raises:
        UsageError: Its quotes do not match.
    """
    caps = f"videoconvert ! video/x-raw,format={pixels.format.upper()}"
    end = f"fakesink name={SINK} sync=false enable-last-sample=false"
    try:
        words = shlex.split(f"{head}{caps} ! {end}")
    except ValueError as error:
        raise UsageError(f"{redacted(uri)!r}: {error}; check the quotes") from error
    return ChildCommand(module_command(GSTREAMER_CHILD, "{fd}", damaged, *hosts), words, "gstreamer")
