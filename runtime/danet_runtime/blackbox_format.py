"""What a written black box looks like: a folder with a manifest, and a picture and a mask for every frame."""

from __future__ import annotations

import logging
import re
import shutil
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from danet_runtime.bundle.manifest import SegmentationClass
from danet_runtime.health import HealthState
from danet_runtime.result import Result
from danet_runtime.sources.base import CaptureClock
from danet_runtime.sources.damage import DamageReason

logger = logging.getLogger(__name__)

MANIFEST_NAME = "blackbox.json"
BOX_PREFIX = "blackbox-"

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
    damage: DamageReason | None = None


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


def box_name(reason: str) -> str:
    """What a box that is written now is called: by time, in UTC, and by the first words of its reason."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    word = re.sub(r"[^a-z0-9]+", "-", reason.partition(":")[0].lower()).strip("-") or "request"
    return f"{BOX_PREFIX}{stamp}-{time.time_ns() // 1000 % 10**6:06d}-{word}"


def boxes_in(folder: Path) -> list[Path]:
    """The black boxes that were written into a folder, or into the folders of its cameras, by their names.

    Those that a stream writes by itself are called by time and reason, so that the oldest comes first.
    """
    found = {file.parent for pattern in ("*", "*/*") for file in folder.glob(f"{pattern}/{MANIFEST_NAME}")}
    return sorted((box for box in found if not box.name.startswith(".")), key=lambda box: box.name)


def remove_oldest(folder: Path, keep: int) -> None:
    """Remove all black boxes of a folder but the newest; nothing else in it is touched.

    One that cannot be removed is logged and tried again the next time.
    """
    mine = [box for box in boxes_in(folder) if box.parent == folder and box.name.startswith(BOX_PREFIX)]
    for box in mine[:-keep]:
        try:
            shutil.rmtree(box)
        except OSError as error:
            logger.warning("the black box %s is not removed: %s", box, error.strerror or error)


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
    }
