"""The flight recorder: the last seconds of frames, masks and health events, in memory until a fault."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from danet_runtime.bundle.manifest import SegmentationClass
from danet_runtime.clock import now_ns
from danet_runtime.dependencies import opencv
from danet_runtime.errors import SinkError, UsageError
from danet_runtime.files.atomic import check_file_target, replacing_folder
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.color import to_bgr
from danet_runtime.frames.pixel_formats import BGR
from danet_runtime.recorder.record import Record
from danet_runtime.recorder.writer import RecordingWriter
from danet_runtime.results.health import HealthEvent
from danet_runtime.results.result import Result
from danet_runtime.sinks.protocol.sink import StreamFormat
from danet_runtime.stream.state.slots import ClosedError, Handover

logger = logging.getLogger(__name__)

_EVENTS = 512
_PNG_FASTEST = 1
_NEWEST_S = 1.0
_CLOSE_S = 2.0


class FlightRecorder:
    """Keeps the last seconds of a stream in memory, and writes them as a folder when asked, or at a fault.

    It is a sink and a listener of the health::

        recorder = FlightRecorder("faults")
        with Stream(segmenter, source, [recorder], listeners=[recorder.note]) as stream:
            ...

    One recorder serves several cameras: give it to each as a sink. As a sink it copies the result and
    returns; a thread of its own encodes it. Where that is busy, the older result is skipped and counted,
    whatever the stream's policy, so that it delays nothing.

    Frames are kept as JPEG, whatever their pixel format, masks as PNG. Their bytes never exceed ``megabytes``
    (2^20 bytes each): the oldest make room. Besides, three frames of each size are copied, wait or are
    encoded at the moment.

    Args:
        folder: Folder for recordings at a fault and by :meth:`request`, each in a folder of its own by
            number, time and reason; ``None``: only :meth:`save` writes.
        seconds: Frames captured longer ago than this, before the newest, are let go.
        megabytes: Most memory that the kept results may take.
        quality: Quality of the JPEGs, 1..100.
        keep: Number of recordings that stay in ``folder``: when one was written the oldest are removed, by
            their numbers, also those of runs before; ``None``: all, and recordings on request end when those
            of this run take :data:`~danet_runtime.recorder.writer.FULL_RECORDINGS` times ``megabytes``.
        context: Returns further content of the manifest, as plain data for JSON: the bundle, the
            backend, ``lambda: stream.report().to_dict()``.

    Raises:
        UsageError: A number is out of range, or ``folder`` cannot be written to.

    Attributes:
        context: The argument ``context``; it may be set later, since the stream is made after its sinks.
    """

    name = "flight_recorder"

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        seconds: float = 30.0,
        megabytes: float = 256.0,
        quality: int = 85,
        keep: int | None = None,
        context: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        if not (seconds > 0 and megabytes > 0 and 1 <= quality <= 100):
            raise UsageError(
                "a flight recorder keeps more than 0 seconds and megabytes, with a quality of 1 to 100 (got "
                f"{seconds:g}, {megabytes:g} and {quality})"
            )
        if keep is not None and keep < 1:
            raise UsageError(f"at least 1 flight recording must be kept (got {keep})")
        self.context = context
        if folder is not None:
            check_file_target(Path(folder) / "recording")
        self._limit_ns = int(seconds * 1e9)
        self._limit_bytes = int(megabytes * 2**20)
        self._quality = quality
        self._classes: Sequence[SegmentationClass] = ()
        self._lock = threading.Lock()  # guards what is below
        self._records: deque[Record] = deque()
        self._bytes = 0
        self._events: deque[HealthEvent] = deque(maxlen=_EVENTS)
        self._seen = self._skipped = self._failed = 0
        self._spare: list[Result] = []  # buffers to copy into
        self._converted: dict[tuple[int, int], UInt8Array] = {}  # of the encoder's thread
        self._opened = 0
        self._waiting: Handover[Result] = Handover(1, "latest")
        self._handled = 0
        self._is_handled = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._saving = threading.Lock()
        self._has_faulted = False
        self._writer: RecordingWriter | None = None
        if folder is not None:
            self._writer = RecordingWriter(
                Path(folder), self._save, seconds=seconds, full_bytes=self._limit_bytes, keep=keep
            )
        self._saved: list[Path] = []  # by save() alone

    @property
    def written(self) -> list[Path]:
        """Folders that were written, and are kept."""
        return [*self._saved, *(self._writer.written if self._writer is not None else ())]

    @property
    def unwritten(self) -> list[str]:
        """Reasons why recordings that were asked for could not be written."""
        return [] if self._writer is None else list(self._writer.unwritten)

    # As a sink.

    def open(self, stream_format: StreamFormat) -> None:
        """Start the encoder; see :class:`danet_runtime.sinks.protocol.sink.Sink`. Once for each camera.

        Raises:
            MissingDependencyError: OpenCV is not installed.
        """
        self._cv2 = opencv("the flight recorder")
        self._classes = stream_format.classes
        if self._writer is not None:
            self._writer.open()
        with self._lock:
            self._opened += 1
            if self._thread is None:
                self._waiting = Handover(1, "latest")
                self._thread = threading.Thread(
                    target=self._encode_all, name="danet-flight-recorder", daemon=True
                )
                self._thread.start()

    def adopt(self, stream_format: StreamFormat) -> None:
        """Results of any size are taken."""

    def write(self, result: Result) -> None:
        """Copy one result for the encoder; never waits for it.

        Raises:
            SinkError: The recorder is not open.
        """
        if self._thread is None:
            raise SinkError("the flight recorder is not open")
        copy = self._copy(result)
        with self._lock:
            self._seen += 1
        try:
            displaced = self._waiting.put(copy)
        except ClosedError:
            displaced = copy
        if displaced is not None:
            with self._lock:
                self._skipped += 1
                self._done(displaced)

    def describe(self) -> dict[str, Any]:
        """Describe how much is kept, and where recordings were written."""
        figures = self.figures()
        return {
            "kind": self.name,
            "not_encoded": figures.pop("failed"),  # the stream counts failed writes under that name
            **figures,
            "written_to": [str(path) for path in self.written],
            "unwritten": self.unwritten,
            "refused": self._writer.refused if self._writer is not None else 0,
            "leftovers_removed": self._writer.leftovers if self._writer is not None else 0,
        }

    def close(self) -> None:
        """Encode what waits, and answer no more requests; what is kept stays. Harmless when repeated.

        What is being written is waited for for two seconds, since a stream gives up a sink that does not
        return; :meth:`finish` waits longer.
        """
        with self._lock:
            self._opened = max(0, self._opened - 1)
            thread = self._thread
            if self._opened > 0 or thread is None:
                return
            self._thread = None
        self._waiting.close()
        thread.join()
        if self._writer is not None:
            self._writer.close(_CLOSE_S)

    def finish(self) -> bool:
        """Wait until what was asked for is written, for at most a minute; whether it is."""
        return self._writer is None or self._writer.finish()

    # As a listener, and on request.

    def note(self, event: HealthEvent) -> None:
        """Keep one change of the health; at the first fault, write a recording."""
        with self._lock:
            self._events.append(event)
            first = event.state == "fault" and not self._has_faulted
            self._has_faulted |= first
        if first and self._writer is not None:
            self._writer.write_fault(f"fault: {event.reasons[0] if event.reasons else 'unknown'}")

    def request(self, reason: str = "request") -> None:
        """Write a recording into the folder, in a thread; from anywhere, a signal's handler included.

        It is answered once the recorder is open, and no more when it was closed. Requests that come close
        together are answered by one recording, see :class:`danet_runtime.recorder.writer.RecordingWriter`.
        The interpreter waits for that thread before it ends, for at most a minute. What fails is logged.
        """
        if self._writer is not None:
            self._writer.request(reason)

    def save(self, folder: str | Path, reason: str = "request") -> Path:
        """Write what is kept as a folder, whole or not at all; see :class:`danet_runtime.recorder.reader`.

        The stream goes on meanwhile; frames that come are kept, but not in this folder.

        Args:
            folder: Must not be there yet.
            reason: Goes into the manifest.

        Returns:
            The folder.

        Raises:
            UsageError: ``folder`` exists, or cannot be made.
            SinkError: It cannot be written, as on a full disk; nothing is left of it.
        """
        path = self._save(Path(folder), reason)
        self._saved.append(path)
        return path

    def _save(self, path: Path, reason: str, number: int | None = None) -> Path:
        from danet_runtime.recorder.format import MANIFEST_NAME, facts_of

        with self._saving:
            with self._lock:
                came = self._seen  # the newest frame may be the one that matters
                self._is_handled.wait_for(lambda: self._handled >= came, _NEWEST_S)
                records, events = list(self._records), list(self._events)
            names = list(dict.fromkeys(record.facts.source for record in records))
            try:
                with replacing_folder(path, MANIFEST_NAME) as partial:
                    frames = []
                    for camera in range(len(names)):
                        (partial / f"camera-{camera}").mkdir()
                    for place, record in enumerate(records):
                        inner = f"camera-{names.index(record.facts.source)}/{place:06d}"
                        (partial / f"{inner}.jpg").write_bytes(record.frame)
                        (partial / f"{inner}.png").write_bytes(record.labels)
                        frames.append(facts_of(record.facts, inner))
                    manifest = self._manifest(reason, number, frames, events)
                    (partial / MANIFEST_NAME).write_text(manifest, encoding="utf-8")
            except OSError as error:
                raise SinkError(
                    f"the flight recording cannot be written to {path}: {error.strerror}"
                ) from error
        logger.warning("flight recorder (%s): %d frames written to %s", reason, len(records), path)
        return path

    def figures(self) -> dict[str, Any]:
        """Return the fill level of the recorder; see :class:`danet_runtime.recorder.format.Figures`."""
        with self._lock:
            return {
                "seen": self._seen,
                "skipped": self._skipped,
                "kept": len(self._records),
                "kept_bytes": self._bytes,
                "limit_s": self._limit_ns / 1e9,
                "limit_bytes": self._limit_bytes,
                "failed": self._failed,
            }

    # The encoder's thread.

    def _encode_all(self) -> None:
        with suppress(ClosedError):
            while True:
                result = self._waiting.get()
                try:
                    record = self._encode(result)
                except Exception:
                    logger.exception("the flight recorder cannot keep frame %d", result.frame_id)
                    with self._lock:
                        self._failed += 1
                else:
                    self._keep(record)
                finally:
                    with self._lock:
                        self._done(result)

    def _encode(self, result: Result) -> Record:
        cv2 = self._cv2
        is_jpeg, frame = cv2.imencode(".jpg", self._bgr_of(result), (cv2.IMWRITE_JPEG_QUALITY, self._quality))
        is_png, labels = cv2.imencode(".png", result.labels, (cv2.IMWRITE_PNG_COMPRESSION, _PNG_FASTEST))
        if not (is_jpeg and is_png):
            raise SinkError(f"frame {result.frame_id} cannot be encoded")
        nothing = np.empty((0, 0), np.uint8)
        facts = replace(result, frame=nothing, labels=nothing, pixels=BGR)
        return Record(facts, frame.tobytes(), labels.tobytes())

    def _bgr_of(self, result: Result) -> UInt8Array:
        """The frame as OpenCV encodes it, in a buffer for each size where it must be converted."""
        if result.pixels.format == "bgr":
            return result.frame
        size_hw = (result.labels.shape[0], result.labels.shape[1])
        buffer = self._converted.get(size_hw)
        if buffer is None:
            buffer = self._converted[size_hw] = np.empty((*size_hw, 3), np.uint8)
        return to_bgr(result.frame, result.pixels, buffer)

    def _keep(self, record: Record) -> None:
        with self._lock:
            newest = record.facts.capture_time_ns
            # Room is made before: the bound holds at every moment.
            while self._records and (
                self._bytes + record.size > self._limit_bytes
                or newest - self._records[0].facts.capture_time_ns > self._limit_ns
            ):
                self._bytes -= self._records.popleft().size
            if record.size <= self._limit_bytes:
                self._records.append(record)
                self._bytes += record.size
            else:
                self._failed += 1

    def _copy(self, result: Result) -> Result:
        with self._lock:
            found = next((spare for spare in self._spare if spare.frame.shape == result.frame.shape), None)
            if found is not None:
                self._spare.remove(found)
        frame = np.empty_like(result.frame) if found is None else found.frame
        labels = np.empty_like(result.labels) if found is None else found.labels
        np.copyto(frame, result.frame)
        np.copyto(labels, result.labels)
        return replace(result, frame=frame, labels=labels)

    def _done(self, result: Result) -> None:
        self._spare.append(result)
        self._handled += 1
        self._is_handled.notify_all()

    # Writing.

    def _manifest(
        self,
        reason: str,
        number: int | None,
        frames: Sequence[dict[str, Any]],
        events: Sequence[HealthEvent],
    ) -> str:
        from danet_runtime.machine import describe_machine
        from danet_runtime.recorder.format import RecordingManifest

        context: Mapping[str, Any] = {}
        if self.context is not None:
            try:
                context = self.context()
            except Exception as error:  # noqa: BLE001 - the frames matter more
                context = {"error": f"{type(error).__name__}: {error}"}
        return RecordingManifest.model_validate(
            {
                "reason": reason,
                "number": number,
                "written_unix_ns": time.time_ns(),
                "written_monotonic_ns": now_ns(),
                "classes": tuple(self._classes),
                "frames": frames,
                "events": [event.to_dict() for event in events],
                "figures": self.figures(),
                "context": dict(context),
                "machine": describe_machine(),
            }
        ).model_dump_json(indent=1)
