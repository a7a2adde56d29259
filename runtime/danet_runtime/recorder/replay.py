"""A flight recording as a video: the overlay, and a strip that says when, how old and in which state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from danet_runtime.dependencies import opencv
from danet_runtime.errors import SourceError
from danet_runtime.files.targets import followed
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.recorder.reader import FlightRecording
from danet_runtime.results.head_up import STATE_COLORS
from danet_runtime.results.health import HealthState
from danet_runtime.results.overlay import Overlay
from danet_runtime.results.result import Result
from danet_runtime.results.style import OverlayStyle
from danet_runtime.sinks.writing.video_file import VideoFile, check_video_target

_LINE_PX = 22
_LINES = 3
_LEAST_WIDTH = 480
_STRIP_PX = _LINE_PX * _LINES + 8
_FONT_SCALE = 0.45
_FAULT_SHOWN_S = 2.0
_RATES = (1.0, 120.0)


def replay(
    recording: FlightRecording,
    output: Path,
    *,
    camera: str | None = None,
    fps: float | None = None,
    style: OverlayStyle | None = None,
    overwrite: bool = False,
    on_frame: Callable[[int], None] | None = None,
) -> int:
    """Write one camera of a flight recording as a video.

    Every frame is shown once; a gap in the ids and the time that it took stand in the strip. What happened
    after the last frame is shown over it for two seconds.

    Args:
        recording: The recording to replay.
        output: The video; see :class:`danet_runtime.sinks.writing.video_file.VideoFile`.
        camera: Name of the camera to replay; by default the first.
        fps: Frames a second; by default that of the recording.
        style: How the overlay is drawn.
        overwrite: Whether a file there may be replaced.
        on_frame: Called with the number of frames that are done.

    Returns:
        Frames of the recording that are in the video.

    Raises:
        SourceError: There is no frame, or a picture is damaged.
        SinkError: The video cannot be written.
        UsageError: There is no such camera, or ``output`` exists already.
    """
    check_video_target(output, overwrite=overwrite)
    target = followed(output)
    if not recording.cameras:
        raise SourceError(f"{recording.path} holds no frame; its events are in the manifest")
    camera = camera or recording.cameras[0]
    video: VideoFile | None = None
    drawing: StateDrawing | None = None
    previous: Result | None = None
    rate = fps or _rate(recording, camera)
    done = 0
    try:
        for result in recording.results(camera):
            if video is None or drawing is None:
                drawing = StateDrawing(result.labels.shape, recording, style)
                video = VideoFile(output, drawing.size_hw, rate, target=target, overwrite=overwrite)
            video.write(drawing.draw(result, previous))
            previous = result
            done += 1
            if on_frame is not None:
                on_frame(done)
        if video is not None and drawing is not None and previous is not None and drawing.has_end(previous):
            picture = drawing.draw_end(previous)
            for _ in range(max(1, round(_FAULT_SHOWN_S * rate))):
                video.write(picture)
    finally:
        if video is not None:
            video.close()
    return done


class StateDrawing:
    """Draws the overlay of a recorded result above a strip with its time and state.

    Args:
        size_hw: Height and width of the frames.
        recording: The recording that holds the classes and events.
        style: How the overlay is drawn.

    Attributes:
        size_hw: Height and width of the pictures.
    """

    def __init__(
        self, size_hw: tuple[int, ...], recording: FlightRecording, style: OverlayStyle | None = None
    ) -> None:
        self._cv2 = opencv("drawing a replay")
        self._frame_hw = (size_hw[0], size_hw[1])
        self._overlay = Overlay(self._frame_hw, recording.manifest.classes, style)
        self.size_hw = (size_hw[0] + _STRIP_PX, max(size_hw[1], _LEAST_WIDTH))
        self._picture: UInt8Array = np.zeros((*self.size_hw, 3), np.uint8)
        self._blended: UInt8Array = np.empty((*self._frame_hw, 3), np.uint8)
        self._recording = recording
        self._end_ns = recording.manifest.written_monotonic_ns

    def draw(self, result: Result, previous: Result | None) -> UInt8Array:
        """The picture of one result; overwritten by the next.

        Returns:
            (H, W, 3) uint8 BGR of :attr:`size_hw`.
        """
        self._blend(result)
        delivered_ns = result.capture_time_ns + int(result.age_ms * 1e6)
        event = self._recording.event_at(delivered_ns)
        reasons = event.reasons if event is not None and event.state == result.health else ()
        before_s = (self._end_ns - result.capture_time_ns) / 1e9
        facts = f"-{before_s:.2f} s   frame {result.frame_id}   age {result.age_ms:.0f} ms"
        facts += {None: "", False: "   in time", True: "   LATE"}[result.late]
        facts += f"   DAMAGED: {result.damage}" if result.damage else ""
        if previous is not None and result.frame_id > previous.frame_id + 1:
            gap_ms = (result.capture_time_ns - previous.capture_time_ns) / 1e6
            facts += f"   gap: {result.frame_id - previous.frame_id - 1} missing, {gap_ms:.0f} ms"
        self._strip(result.health, f"{result.source}   {facts}", reasons)
        return self._picture

    def has_end(self, last: Result) -> bool:
        """Whether the state changed after the last frame."""
        event = self._recording.events[-1] if self._recording.events else None
        return event is not None and event.state != last.health

    def draw_end(self, last: Result) -> UInt8Array:
        """The last frame again, with the state in which everything ended."""
        self._blend(last)
        event = self._recording.events[-1]
        after_s = (event.monotonic_ns - last.capture_time_ns) / 1e9
        facts = f"{last.source}   {after_s:.2f} s after frame {last.frame_id}, the last"
        self._strip(event.state, facts, event.reasons)
        return self._picture

    def _blend(self, result: Result) -> None:
        height, width = self._frame_hw
        if result.labels.shape != self._frame_hw:
            raise SourceError(
                f"frame {result.frame_id} is {result.labels.shape}, those before it {self._frame_hw} "
                "(height, width); replay the cameras one by one"
            )
        self._overlay.draw_into(result, self._blended)
        self._picture[:height, :width] = self._blended

    def _strip(self, state: HealthState, facts: str, reasons: tuple[str, ...]) -> None:
        strip = self._picture[self._frame_hw[0] :]
        strip[:] = 24
        strip[:4] = STATE_COLORS[state]
        letters = int(self.size_hw[1] / 8.2)  # of this font and size
        reason = "; ".join(reasons)
        lines = [
            (state.upper(), STATE_COLORS[state]),
            (facts, (235, 235, 235)),
            (reason if len(reason) <= letters else reason[: letters - 3] + "...", (200, 200, 200)),
        ]
        for number, (text, color) in enumerate(lines):
            place = (8, 4 + _LINE_PX * (number + 1) - 6)
            self._cv2.putText(
                strip, text, place, self._cv2.FONT_HERSHEY_SIMPLEX, _FONT_SCALE, color, 1, self._cv2.LINE_AA
            )


def _rate(recording: FlightRecording, camera: str) -> float:
    times = [frame.capture_time_ns for frame in recording.manifest.frames if frame.camera == camera]
    if len(times) < 2:
        return 10.0
    period_ns = float(np.median(np.diff(times)))
    return float(np.clip(1e9 / max(period_ns, 1.0), *_RATES))
