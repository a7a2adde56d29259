"""What a written black box looks like: a folder with a manifest, and a picture and a mask for every frame."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from danet_runtime.bundle.manifest import SegmentationClass
from danet_runtime.health import HealthState
from danet_runtime.sources.base import CaptureClock

MANIFEST_NAME = "blackbox.json"
BLACK_BOX_KIND = "danet-black-box"
BLACK_BOX_VERSION = 1

InnerPath = Annotated[str, Field(pattern=r"^camera-\d+/\d+\.(jpg|png)$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RecordedFrame(_Strict):
    """One result; ``frame`` and ``labels`` are files in the folder, a JPEG and a PNG of one channel.

    Times are as in :class:`danet_runtime.result.Result`.
    """

    camera: str
    frame_id: int
    capture_time_ns: int
    capture_clock: CaptureClock
    age_ms: float
    late: bool | None
    health: HealthState
    stages_ms: dict[str, float]
    media_time_ms: float | None
    name: str | None
    frame: InnerPath
    labels: InnerPath


class RecordedEvent(_Strict):
    """One change of the health; see :class:`danet_runtime.health.HealthEvent`."""

    monotonic_ns: int
    unix_ns: int
    state: HealthState
    previous: HealthState
    reasons: tuple[str, ...]


class Figures(_Strict):
    """How full the box was.

    Attributes:
        seen: Results that came.
        skipped: Those that came while the box was busy with others.
        kept: Those in the box.
        kept_bytes: Of their pictures and masks, and what it takes to keep them.
        limit_s: Age up to which they are kept.
        limit_bytes: Up to so much is kept.
        failed: Results that could not be encoded.
    """

    seen: int
    skipped: int
    kept: int
    kept_bytes: int
    limit_s: float
    limit_bytes: int
    failed: int


class BlackBoxManifest(_Strict):
    """The file ``blackbox.json``.

    Attributes:
        reason: Why it was written: ``fault: ...``, or whatever was given with the request.
        written_unix_ns: When, on the wall clock.
        written_monotonic_ns: When, on the clock of the frames and events.
        classes: Of the labels.
        frames: Oldest first.
        events: Of the health, oldest first; at most 512.
        figures: How full the box was.
        context: What the program says of itself: the bundle, the backend, the stream's report.
        machine: CPU, platform and versions.
    """

    kind: Literal["danet-black-box"] = "danet-black-box"
    schema_version: Literal[1] = 1
    reason: str
    written_unix_ns: int
    written_monotonic_ns: int
    classes: tuple[SegmentationClass, ...]
    frames: tuple[RecordedFrame, ...]
    events: tuple[RecordedEvent, ...]
    figures: Figures
    context: dict[str, Any]
    machine: dict[str, Any]
