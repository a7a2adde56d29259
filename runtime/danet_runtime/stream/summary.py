"""Builds the report of a stream from the figures of its cameras."""

from __future__ import annotations

from collections.abc import Sequence

from danet_runtime.inference.segmenter import Segmenter
from danet_runtime.stream.pipeline.camera_pipeline import CameraPipeline
from danet_runtime.stream.report import Ending, StreamReport
from danet_runtime.stream.state.context import StreamContext


def summarise(
    pipelines: Sequence[CameraPipeline], segmenter: Segmenter, context: StreamContext, ending: Ending
) -> StreamReport:
    """Return the report of a stream.

    Args:
        pipelines: Cameras of the stream.
        segmenter: Segmenter that runs at present.
        context: Shared state of the stream.
        ending: Reason for its end.
    """
    health, failure = context.health, context.failure
    cameras = [pipeline.describe() for pipeline in pipelines]
    counts = {key: sum(camera["frames"][key] for camera in cameras) for key in cameras[0]["frames"]}
    firsts = [pipeline.counts.first_ns for pipeline in pipelines if pipeline.counts.first_ns]
    last = max(pipeline.counts.last_ns for pipeline in pipelines)
    duration_s = max(last - min(firsts), 0) / 1e9 if counts["out"] and firsts else 0.0
    return StreamReport(
        frames_in=counts["in"],
        frames_out=counts["out"],
        frames_dropped=counts["dropped"],
        frames_late=sum(camera["late"] for camera in cameras),
        frames_late_dropped=counts["late_dropped"],
        frames_failed=counts["failed"],
        frames_unfinished=counts["unfinished"],
        frames_damaged=sum(sum(camera["damaged"].values()) for camera in cameras),
        ending=ending,
        error=None if failure is None else str(failure) or type(failure).__name__,
        duration_s=duration_s,
        fps=counts["out"] / duration_s if duration_s else 0.0,
        policy=pipelines[0].camera.policy,
        latency=pipelines[0].counts.latency(),
        cameras=cameras,
        health={
            "state": health.state,
            "reasons": list(health.reasons),
            "changes": health.changes,
            "events": [event.to_dict() for event in health.events],
        },
        bundle=segmenter.bundle.describe(segmenter.precision),
        backend=segmenter.backend.describe(),
    )
