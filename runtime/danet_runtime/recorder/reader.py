"""Reading a flight recording that was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from danet_runtime.dependencies import opencv
from danet_runtime.errors import SourceError, UsageError
from danet_runtime.files.limited import read_limited, require_plain_json
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.pictures.decoding import MOST_FILE_BYTES
from danet_runtime.pictures.reading import decode
from danet_runtime.recorder.format import MANIFEST_NAME, RecordedEvent, RecordedFrame, RecordingManifest
from danet_runtime.results.result import Labelling, Result

_MANIFEST_LIMIT_BYTES = 64 << 20  # some 100 000 frames


class FlightRecording:
    """The content of a folder that :class:`danet_runtime.recorder.recorder.FlightRecorder` wrote.

    ::

        for result in FlightRecording("faults/blackbox-..."):
            print(result.frame_id, result.health, result.labels.shape)

    Args:
        folder: The folder.

    Raises:
        SourceError: It is no flight recording, or its manifest is damaged or of another version.

    Attributes:
        manifest: The manifest, which holds everything but the pictures.
        path: The folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder)
        file = self.path / MANIFEST_NAME
        try:
            data = read_limited(file, _MANIFEST_LIMIT_BYTES, plain=True)
            self.manifest = RecordingManifest.model_validate_json(data)
            require_plain_json(data)
        except OSError as error:
            raise SourceError(
                f"{self.path} is no flight recording and none is in it: {MANIFEST_NAME} cannot be read "
                f"({error.strerror}); give the folder that was written, or the one given to --flight-recorder"
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise SourceError(
                f"{file} does not follow versions 1 to 3 of a flight recording: {place}: {first['msg']}; "
                "read it with the version of danet that wrote it"
            ) from error
        except ValueError as error:  # behind ValidationError, which is one
            raise SourceError(f"{file} is no manifest of a flight recording: {error}") from error

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, in the order of their first frames."""
        return tuple(dict.fromkeys(frame.camera for frame in self.manifest.frames))

    @property
    def events(self) -> tuple[RecordedEvent, ...]:
        """Changes of the health, oldest first."""
        return self.manifest.events

    def __len__(self) -> int:
        return len(self.manifest.frames)

    def __iter__(self) -> Iterator[Result]:
        return self.results()

    def results(self, camera: str | None = None) -> Iterator[Result]:
        """The results as they were, oldest first; the arrays are the caller's.

        ``frame`` went through JPEG, ``labels`` are exact, ``age_ms`` is that at the delivery.

        Args:
            camera: Give only this camera's results; ``None``: those of all cameras.

        Raises:
            UsageError: There is no such camera.
            SourceError: A picture is missing or damaged.
        """
        if camera is not None and camera not in self.cameras:
            raise UsageError(f"there is no camera {camera!r}, only {', '.join(self.cameras)}")
        for entry in self.manifest.frames:
            if camera in (None, entry.camera):
                yield self._result(entry)

    def event_at(self, monotonic_ns: int) -> RecordedEvent | None:
        """Return the latest change of the health up to a time; ``None`` before the first known one."""
        return next((event for event in reversed(self.events) if event.monotonic_ns <= monotonic_ns), None)

    def _result(self, entry: RecordedFrame) -> Result:
        frame = self._picture(entry.frame, color=True)
        labels = self._picture(entry.labels, color=False)
        if frame.shape[:2] != labels.shape:
            raise SourceError(
                f"{self.path / entry.labels} is {labels.shape}, its frame {frame.shape[:2]} (height, width)"
            )
        return Result(
            frame=frame,
            labels=labels,
            frame_id=entry.frame_id,
            capture_time_ns=entry.capture_time_ns,
            age_ms=entry.age_ms,
            stages_ms=entry.stages_ms,
            media_time_ms=entry.media_time_ms,
            name=entry.name,
            source=entry.camera,
            capture_clock=entry.capture_clock,
            late=entry.late,
            damage=entry.damage,
            health=entry.health,
            labelling=Labelling(tuple(self.manifest.classes), entry.model, entry.labels_hw),
        )

    def _picture(self, inner: str, *, color: bool) -> UInt8Array:
        cv2 = opencv("reading a flight recording")
        file = self.path / inner
        try:
            data = read_limited(file, MOST_FILE_BYTES, plain=True)
        except OSError as error:
            raise SourceError(f"{file} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise SourceError(str(error)) from error
        return decode(data, str(file), cv2.IMREAD_COLOR if color else cv2.IMREAD_GRAYSCALE)
