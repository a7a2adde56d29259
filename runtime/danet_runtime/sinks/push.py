"""The overlay as H.264 over the network, or into any GStreamer pipeline, through a child process."""

from __future__ import annotations

import logging
import shlex
import time
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import numpy as np

from danet_runtime.dependencies import GSTREAMER, OPENCV, opencv, require_program
from danet_runtime.errors import SinkError, UsageError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.gstreamer.frame_counter import COUNTER
from danet_runtime.processes.start import module_command
from danet_runtime.results.result import Result
from danet_runtime.results.style import OverlayStyle
from danet_runtime.sinks.protocol.overlay import OverlayPicture
from danet_runtime.sinks.protocol.pause import MOST_PAUSE_S, Pause
from danet_runtime.sinks.protocol.presentation import DEFAULT_FPS
from danet_runtime.sinks.protocol.sink import StreamFormat
from danet_runtime.sinks.protocol.statement import SinkStatement, SinkWanted
from danet_runtime.sinks.writing.push_child import PushChild
from danet_runtime.sources.gstreamer import GSTREAMER_CHILD, has_element
from danet_runtime.sources.protocol.uri import Redaction, check_address

logger = logging.getLogger(__name__)


_ENCODERS: Final = (
    # Jetson's engine takes frames in its own memory.
    (
        "nvv4l2h264enc",
        "nvvidconv ! video/x-raw(memory:NVMM),format=NV12 "
        "! nvv4l2h264enc insert-sps-pps=true iframeinterval={gop}",
    ),
    ("nvh264enc", "videoconvert ! nvh264enc zerolatency=true gop-size={gop}"),
    (
        "x264enc",
        "videoconvert ! video/x-raw,format=I420 "
        "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={gop}",
    ),
    ("openh264enc", "videoconvert ! video/x-raw,format=I420 ! openh264enc gop-size={gop} complexity=low"),
)
_WRITE_S = 1.0
_START_S: Final = 5.0
"""As long until the first frame was sent: what is killed while it loads its encoder never comes up."""

_NO_PROGRESS_S = 10.0
_MOST_UNDER_WAY = 2
"""Frames under way in a child that keeps up: one frame is in the pipeline, one in the pipe."""


class PushSink:
    """Sends the overlay of every result away; see :class:`danet_runtime.sinks.protocol.sink.Sink`.

    - ``udp://HOST:PORT``: H.264 in an MPEG transport stream; ``ffplay udp://@:PORT`` shows it, and a
      multicast address reaches many.
    - ``rtsp://HOST:PORT/PATH`` (``rtsps``): announced to and recorded by an RTSP server there, over TCP.
    - ``gst:PIPELINE``: raw frames into a pipeline of your own, e.g. ``gst:videoconvert ! autovideosink``.

    The encoder is the first that is here of Jetson's, NVIDIA's, x264 and OpenH264; :meth:`describe` says
    which. A child that dies, or takes no frame for a second (five at its start), is ended: the write fails,
    and a later one starts it again after a pause that doubles from 0.5 s to 15 s. Writes in the pause fail at
    once.

    A frame is sent when the child says that the whole pipeline has taken it; bytes in a pipe are not sent. An
    RTSP server has confirmed the recording by then. Whether UDP reaches anybody, nobody confirms. A child
    that was given frames and has sent none for ten seconds hangs, too.

    Args:
        uri: Address that frames are sent to, or a pipeline, as above.
        style: How the overlay is drawn.

    Raises:
        UsageError: ``uri`` is none of these.

    Attributes:
        reconnects: Failures are not final: a stream does not give this sink up.
        restarts: How often the child was started again.
    """

    name = "push"
    statement: ClassVar = SinkStatement(
        name=name,
        form="udp://HOST:PORT, rtsp://HOST/PATH, gst:PIPELINE",
        help="the overlay as H.264 over the network, or into a pipeline",
        needs=((GSTREAMER,), (OPENCV,)),
        schemes=("udp", "rtsp", "rtsps", "gst"),
        is_address=True,
        own_braces=("gst",),
    )
    reconnects = True

    @classmethod
    def named(cls, rest: str, wanted: SinkWanted) -> PushSink:
        """See :class:`danet_runtime.sinks.protocol.statement.RegisteredSink`."""
        return cls(rest, style=wanted.style)

    def __init__(self, uri: str, *, style: OverlayStyle | None = None) -> None:
        self._uri = uri
        self._redact = Redaction(uri)
        self._shown = self._redact.shown
        _check(uri)
        self._style = style
        self._child: PushChild | None = None
        self._words: list[str] = []
        self._encoder: str | None = None
        self._pause = Pause()
        self._problem = ""
        self._given = 0  # to the child that runs
        self._given_before = 0
        self._sent_before = 0
        self._progress = (0, 0.0)  # frames sent by the child, and since when that number stands
        self._starts = 0

    @property
    def restarts(self) -> int:
        """How often the child was started again."""
        return max(0, self._starts - 1)

    @property
    def sent(self) -> int:
        """Frames that have left the pipeline."""
        return self._sent_before + (min(self._child.sent, self._given) if self._child is not None else 0)

    @property
    def unsent(self) -> int:
        """Frames that were taken by :meth:`write` and have not left the pipeline; they may still."""
        return self._given_before + self._given - self.sent

    def open(self, stream_format: StreamFormat) -> None:
        """Choose the encoder; the child is started with the first frame.

        Raises:
            MissingDependencyError: GStreamer or OpenCV is not installed.
            SinkError: It has no H.264 encoder, or lacks an element.
        """
        self._cv2 = opencv("sending the overlay")
        require_program(GSTREAMER, self._shown)
        height, width = stream_format.size_hw
        self._even: UInt8Array = np.zeros((height + height % 2, width + width % 2, 4), np.uint8)
        is_even = self._even.shape[:2] == (height, width)
        self._bgrx: UInt8Array = self._even if is_even else np.empty((height, width, 4), np.uint8)
        self._overlay = OverlayPicture(stream_format, self._style)
        fps = stream_format.fps or DEFAULT_FPS
        pipeline = self._pipeline(fps)
        try:
            self._words = shlex.split(pipeline)
        except ValueError as error:
            raise UsageError(f"{self._shown!r}: {error}; check the quotes") from error

    def adopt(self, stream_format: StreamFormat) -> None:
        """Send results of this size and format from now on, through a child of their own.

        Raises:
            SinkError: The output cannot be opened, see :meth:`open`.
        """
        self.close()
        self.open(stream_format)

    def write(self, result: Result) -> None:
        """Blend one result and hand it to the child.

        Raises:
            SinkError: The child has ended or hangs, or is not started again yet.
        """
        if not self._words:
            raise SinkError(f"{self._shown} is not open")
        if self._child is None and self._pause.left_s > 0:
            # Not how soon: every other wording would be another event of the health.
            raise SinkError(f"{self._problem}; it is started again in at most {self._pause.length_s:g} s")
        picture = self._overlay.draw(result)
        self._cv2.cvtColor(picture, self._cv2.COLOR_BGR2BGRA, dst=self._bgrx)
        if self._even is not self._bgrx:
            height, width = picture.shape[:2]
            self._even[:height, :width] = self._bgrx
            self._even[height:, :width] = self._bgrx[-1:]
            self._even[:, width:] = self._even[:, width - 1 : width]
        try:
            if self._child is None:
                command = module_command(GSTREAMER_CHILD)
                self._child = PushChild(command, self._shown, self._redact, self._words)
                self._starts += 1
                self._progress = (0, time.monotonic())
            self._check_progress(self._child)
            self._child.write(self._even, _WRITE_S if self._child.sent else _START_S)
            self._given += 1
        except SinkError as error:
            self._fail(error)
            raise
        if self._pause.left_s < -2 * MOST_PAUSE_S:
            self._pause.forget()  # it has run well for long enough

    def describe(self) -> dict[str, Any]:
        """URI without credentials, encoder, frames sent, whether a receiver confirmed them, and restarts."""
        return {
            "kind": self.name,
            "uri": self._shown,
            "encoder": self._encoder,
            "frames": self.sent,
            "confirmed": self._uri.startswith("rtsp"),
            "unsent": self.unsent,
            "restarts": self.restarts,
        }

    def close(self) -> None:
        """Let the child send what it has, for at most three seconds; harmless when called twice."""
        child, self._child = self._child, None
        if child is not None:
            self._end(child, finish=True)

    def _check_progress(self, child: PushChild) -> None:
        sent, since_s = self._progress
        if child.sent != sent or self._given - child.sent < _MOST_UNDER_WAY:
            self._progress = (child.sent, time.monotonic())
        elif time.monotonic() - since_s > _NO_PROGRESS_S:
            raise SinkError(f"{self._shown} has sent nothing for {_NO_PROGRESS_S:g} s")

    def _end(self, child: PushChild, *, finish: bool) -> None:
        child.close(finish=finish)
        self._sent_before += min(child.sent, self._given)
        self._given_before += self._given
        self._given = 0

    def _fail(self, error: SinkError) -> None:
        child, self._child = self._child, None
        if child is not None:
            self._end(child, finish=False)
        self._pause.begin()
        self._problem = str(error)
        logger.warning("%s; starting it again in %.1f s", error, self._pause.length_s)

    def _pipeline(self, fps: float) -> str:
        height, width = self._even.shape[:2]
        rate = f"{round(fps * 1000)}/1000"
        # BGRx: its rows need no padding, and Jetson's converter takes no BGR.
        head = (
            f"fdsrc fd={{fd}} blocksize={self._even.nbytes} ! rawvideoparse format=bgrx "
            f"width={width} height={height} framerate={rate} ! identity name={COUNTER} silent=true"
        )
        scheme, _, rest = self._uri.partition(":")
        if scheme == "gst":
            return f"{head} ! {rest.strip().lstrip('!').strip()}"
        found = next((entry for entry in _ENCODERS if has_element(entry[0])), None)
        if found is None:
            names = ", ".join(name for name, _ in _ENCODERS)
            raise SinkError(
                f"{self._shown}: this GStreamer has no H.264 encoder ({names}); {GSTREAMER.install}"
            )
        self._encoder = found[0]
        parts = urlsplit(self._uri)
        if scheme == "udp":
            tail = f"mpegtsmux alignment=7 ! udpsink host={parts.hostname} port={parts.port} sync=false"
            needed = ["h264parse", "mpegtsmux", "udpsink"]
        else:
            tail = f'rtspclientsink location="{self._uri}" protocols=tcp latency=0'
            needed = ["h264parse", "rtspclientsink"]
        missing = [name for name in needed if not has_element(name)]
        if missing:
            raise SinkError(f"{self._shown}: this GStreamer lacks {', '.join(missing)}; {GSTREAMER.install}")
        encoder = found[1].format(gop=max(1, round(fps)))
        return f"{head} ! {encoder} ! h264parse config-interval=-1 ! {tail}"


def _check(uri: str) -> None:
    scheme, _, rest = uri.partition(":")
    if scheme != "gst":
        check_address(uri, needs_port=scheme == "udp")
    elif not rest.strip():
        raise UsageError("gst: needs a pipeline, e.g. 'gst:videoconvert ! autovideosink'")
