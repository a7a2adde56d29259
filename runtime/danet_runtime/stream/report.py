"""Report of a stream, as one JSON document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from danet_runtime.files.atomic import write_json
from danet_runtime.machine import describe_machine
from danet_runtime.timing import LatencyRecorder, LatencySummary

REPORT_KIND = "danet-stream-report"
REPORT_VERSION = 2

Ending = Literal["source ended", "frame limit", "stopped", "failed"]


@dataclass(frozen=True)
class StreamReport:
    """Report of a stream over all its cameras.

    ``frames_in = frames_out + frames_dropped + frames_late_dropped + frames_failed + frames_unfinished``.

    Attributes:
        frames_in: Frames that the source delivered.
        frames_out: Frames that were segmented and that every sink has finished with.
        frames_dropped: Frames displaced by newer ones under the policy ``latest``.
        frames_late: Frames that missed the deadline.
        frames_late_dropped: Late frames that were not delivered.
        frames_failed: Frames that could not be segmented.
        frames_unfinished: Frames in flight when the stream was stopped or failed.
        frames_damaged: Frames that came damaged; those left out are in none of the others.
        ending: Why it ended.
        error: The failure's message, or ``None``.
        duration_s: Time from the start of the first capture until the last sink was done.
        fps: ``frames_out`` per second of ``duration_s``.
        policy: ``every`` or ``latest``; ``none`` where the stream could not be made.
        latency: Latency of the first camera's delivered frames; ``cameras`` has that of each camera.
        cameras: Figures, source and sinks of each camera.
        health: The state at the end, and the latest events.
        bundle: Path, hash of the manifest, precision, and share of convolution MACs on INT8.
        backend: Description of the backend that ran the model.
    """

    frames_in: int
    frames_out: int
    frames_dropped: int
    frames_late: int
    frames_late_dropped: int
    frames_failed: int
    frames_unfinished: int
    frames_damaged: int
    ending: Ending
    error: str | None
    duration_s: float
    fps: float
    policy: str
    latency: LatencySummary
    cameras: Sequence[Mapping[str, Any]]
    health: Mapping[str, Any]
    bundle: Mapping[str, Any]
    backend: Mapping[str, Any]

    @classmethod
    def not_started(cls, error: str, bundle: Path) -> StreamReport:
        """Return the report of a stream that never ran: its model, a source or an output could not be opened.

        Args:
            error: Why.
            bundle: Folder of the bundle.
        """
        return cls(
            frames_in=0,
            frames_out=0,
            frames_dropped=0,
            frames_late=0,
            frames_late_dropped=0,
            frames_failed=0,
            frames_unfinished=0,
            frames_damaged=0,
            ending="failed",
            error=error,
            duration_s=0.0,
            fps=0.0,
            policy="none",
            latency=LatencyRecorder(capacity=1).summary(),
            cameras=(),
            health={"state": "starting", "reasons": [], "changes": 0, "events": []},
            bundle={"path": str(bundle)},
            backend={},
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with the machine that it was measured on."""
        return {
            "kind": REPORT_KIND,
            "schema_version": REPORT_VERSION,
            "frames": {
                "in": self.frames_in,
                "out": self.frames_out,
                "dropped": self.frames_dropped,
                "late": self.frames_late,
                "late_dropped": self.frames_late_dropped,
                "failed": self.frames_failed,
                "unfinished": self.frames_unfinished,
            },
            "damaged": self.frames_damaged,
            "ending": self.ending,
            "error": self.error,
            "duration_s": self.duration_s,
            "fps": self.fps,
            "policy": self.policy,
            "latency": {
                **({"camera": self.cameras[0]["name"]} if self.cameras else {}),
                **self.latency.to_dict(),
            },
            "cameras": [dict(camera) for camera in self.cameras],
            "health": dict(self.health),
            "bundle": dict(self.bundle),
            "backend": dict(self.backend),
            "machine": describe_machine(),
        }

    def write(self, path: str | Path) -> None:
        """Write the JSON document, whole or not at all."""
        write_json(Path(path), self.to_dict())
