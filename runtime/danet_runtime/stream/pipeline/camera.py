"""One camera of a stream, as the caller described it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from danet_runtime.sinks.protocol.sink import Sink
from danet_runtime.sources.protocol.source import Source
from danet_runtime.stream.state.slots import Policy


@dataclass(frozen=True, eq=False)
class Camera:
    """One camera of a stream: its source, the policy for its frames, and its sinks.

    Attributes:
        number: Index of the camera in the intake and among the caller's results.
        name: Name of the camera in results, reports and errors.
        source: Source of the frames, open or awaited
            (:func:`danet_runtime.sources.protocol.abilities.why_awaited`); closed by the stream.
        sinks: Sinks of the camera, which are opened when the stream starts.
        policy: ``every`` or ``latest``.
        max_frames: Number of frames to read; ``None``: at the end of the source.
    """

    number: int
    name: str
    source: Source
    sinks: Sequence[Sink]
    policy: Policy
    max_frames: int | None = None

    def sink_keys(self) -> list[str]:
        """Return a unique name for each sink, for health and errors; sinks of the same name are numbered."""
        names = [sink.name for sink in self.sinks]
        return [
            f"{self.name}.{name}" if names.count(name) == 1 else f"{self.name}.{name}-{index}"
            for index, name in enumerate(names)
        ]
