"""Format of a flight recording on disk: a folder with a manifest, and a picture and a mask a frame."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from danet_runtime.bundle.manifest import SegmentationClass
from danet_runtime.results.health import HealthState
from danet_runtime.results.result import Result
from danet_runtime.sources.protocol.damage import DamageReason
from danet_runtime.sources.protocol.source import CaptureClock

MANIFEST_NAME = "blackbox.json"
RECORDING_PREFIX = "blackbox-"
_NUMBERED = re.compile(rf"\.?{RECORDING_PREFIX}n(\d+)-")

InnerPath = Annotated[str, Field(pattern=r"^camera-\d+/\d+\.(jpg|png)$")]


Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""Value of a clock or a counter; arithmetic with larger numbers may fail or take for ever."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RecordedFrame(_Strict):
    """One result; ``frame`` and ``labels`` are files in the folder, a JPEG and a PNG of one channel.

    Times are as in :class:`danet_runtime.results.result.Result`, ``model`` and ``labels_hw`` as ``model`` and
    ``size_hw`` in :class:`danet_runtime.results.result.Labelling`.
    """

    camera: str
    frame_id: Int64
    capture_time_ns: Int64
    capture_clock: CaptureClock
    age_ms: float
    late: bool | None
    health: HealthState
    stages_ms: dict[str, float]
    media_time_ms: float | None
    name: str | None
    frame: InnerPath
    labels: InnerPath
    damage: DamageReason | None = None
    model: str = ""
    labels_hw: tuple[PositiveInt, PositiveInt] | None = None


class RecordedEvent(_Strict):
    """One change of the health; see :class:`danet_runtime.results.health.HealthEvent`."""

    monotonic_ns: Int64
    unix_ns: Int64
    state: HealthState
    previous: HealthState
    reasons: tuple[str, ...]


class Figures(_Strict):
    """Fill level of the recorder when it was written.

    Attributes:
        seen: Results that arrived.
        skipped: Results that arrived while the recorder was busy with others.
        kept: Results in the recording.
        kept_bytes: Memory of their pictures and masks and of their records, in bytes.
        limit_s: Age up to which they are kept.
        limit_bytes: Most memory that the kept results may take, in bytes.
        failed: Results that could not be encoded.
    """

    seen: Int64
    skipped: Int64
    kept: Int64
    kept_bytes: Int64
    limit_s: float
    limit_bytes: Int64
    failed: Int64


class RecordingManifest(_Strict):
    """The file ``blackbox.json``.

    Attributes:
        schema_version: 3; 2 had no ``model`` and ``labels_hw`` of a frame, 1 no ``number`` either.
        number: Above those of the recordings in its folder from before; ``None``: it was written to
            a path that was asked for.
        reason: Why it was written: ``fault: ...``, or whatever was given with the request.
        written_unix_ns: Time of writing on the wall clock.
        written_monotonic_ns: Time of writing on the clock of the frames and events.
        classes: Names of the classes that the labels stand for.
        frames: Oldest first.
        events: Changes of the health, oldest first; at most 512.
        figures: Fill level of the recorder.
        context: Description of the run: the bundle, the backend, the stream's report.
        machine: CPU, platform and versions.
    """

    kind: Literal["danet-flight-recorder"] = "danet-flight-recorder"
    schema_version: Literal[1, 2, 3] = 3
    number: int | None = None
    reason: str
    written_unix_ns: Int64
    written_monotonic_ns: Int64
    classes: tuple[SegmentationClass, ...]
    frames: tuple[RecordedFrame, ...]
    events: tuple[RecordedEvent, ...]
    figures: Figures
    context: dict[str, Any]
    machine: dict[str, Any]


def recording_name(number: int, reason: str) -> str:
    """Return the name of a new recording: its number, the time in UTC, and the first words of its reason.

    The letter before the number puts it behind recordings of older versions, which were called by time alone.
    """
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    word = re.sub(r"[^a-z0-9]+", "-", reason.partition(":")[0].lower()).strip("-") or "request"
    return f"{RECORDING_PREFIX}n{number:06d}-{stamp}-{word}"


def next_number(folder: Path) -> int:
    """A number above those of all recordings in a folder, the unfinished included."""
    try:
        return 1 + max((_number_of(path) for path in folder.iterdir()), default=0)
    except FileNotFoundError:
        return 1


def recordings_in(folder: Path) -> list[Path]:
    """The flight recordings that were written into a folder, or into the folders of its cameras.

    In each folder the oldest comes first: by number, since clocks are set; those of versions before, which
    have none, by their names, before the others.
    """
    found = {file.parent for pattern in ("*", "*/*") for file in folder.glob(f"{pattern}/{MANIFEST_NAME}")}
    recordings = [path for path in found if not path.name.startswith(".")]
    return sorted(recordings, key=lambda path: (path.parent, _number_of(path), path.name))


def _number_of(recording: Path) -> int:
    match = _NUMBERED.match(recording.name)
    return int(match[1]) if match else 0


def facts_of(result: Result, inner: str) -> dict[str, Any]:
    """A :class:`RecordedFrame` as plain data; ``inner`` is the path of its files without their suffixes."""
    return {
        "camera": result.source,
        "frame_id": result.frame_id,
        "capture_time_ns": result.capture_time_ns,
        "capture_clock": result.capture_clock,
        "age_ms": result.age_ms,
        "late": result.late,
        "health": result.health,
        "stages_ms": dict(result.stages_ms),
        "media_time_ms": result.media_time_ms,
        "name": result.name,
        "frame": f"{inner}.jpg",
        "labels": f"{inner}.png",
        "damage": result.damage,
        "model": result.labelling.model,
        "labels_hw": result.labelling.size_hw,
    }
