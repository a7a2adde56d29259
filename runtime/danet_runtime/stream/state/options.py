"""Options of a stream (time limits and policies), checked together."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from math import inf
from typing import Literal

from danet_runtime.errors import UsageError
from danet_runtime.stream.state.fallback import FallbackRules

LatePolicy = Literal["mark", "drop"]


@dataclass(frozen=True)
class StreamOptions:
    """Times and limits of a stream; every time is in the unit that its name ends with.

    Attributes:
        deadline_ms: A result older than this at delivery is late; ``None``: there is no deadline.
        late: ``mark`` delivers a late result, marked; ``drop`` counts it and delivers nothing.
        golden: Run the bundle's golden frame before anything else, and refuse to start on wrong labels.
        source_timeout_s: Time without a frame after which a source counts as stuck.
        open_timeout_s: Longest time for one try to open a lost source again.
        inference_timeout_s: Duration after which an inference counts as stuck, and with it this process.
        start_timeout_s: Like ``inference_timeout_s``, for the golden frame: the first inference also loads.
        sink_timeout_s: Time for one frame after which a sink counts as stuck.
        sink_give_up_s: Time for one frame after which the stream goes on without a sink, where it waits for
            its sinks (``every``).
        sink_recovery_s: How long a write under ``every`` is tried again before the sink is given up, where it
            fails for a reason that may pass, such as a full disk.
        stale_after_s: Masks of a live source older than this are stale.
        frozen_after_s: Time of identical frames after which a live source counts as a frozen camera.
        black_after_s: Time of black frames after which a live source counts as a covered or dead camera.
        jump_shown_s: How long the health shows a jump of a clock.
        damage_shown_s: How long the health shows that a frame was damaged.
        key_frame_timeout_s: Time of nothing but damaged frames after which a source counts as stuck; until
            then it is waiting for a key frame.
        inference_failures: Number of failed inferences in a row that are a fault, for live sources; with a
            file the first one ends the stream.
        sink_failures: Number of failed writes in a row after which a sink is given up, under ``latest``,
            unless it reconnects or recovers. Under ``every`` the first one is enough, since an output with a
            gap is incomplete.
        reconnect_first_s: Pause before a lost live source is opened again; doubled after each failure.
        reconnect_most_s: Longest such pause. Each is shortened by a random part of up to a half, so that many
            cameras do not come back in step.
        give_up_after_s: Time after which a lost live source ends its part of the stream; ``None``: never.
        grace_s: How long the end of the stream waits for a thread before it is given up.
        watch_every_s: Time between two checks of the watchdog.
        fallback: Rules for stepping between several models.
        copy: Whether the results that a caller iterates over are copies, which stay as they are; else views
            of the stream's own arrays, to be read until the next is asked for.
    """

    deadline_ms: float | None = None
    late: LatePolicy = "mark"
    golden: bool = True
    source_timeout_s: float = 2.0
    open_timeout_s: float = 15.0
    inference_timeout_s: float = 5.0
    start_timeout_s: float = 60.0
    sink_timeout_s: float = 5.0
    sink_give_up_s: float = 30.0
    sink_recovery_s: float = 10.0
    stale_after_s: float = 1.0
    frozen_after_s: float = 2.0
    black_after_s: float = 2.0
    jump_shown_s: float = 10.0
    damage_shown_s: float = 2.0
    key_frame_timeout_s: float = 30.0
    inference_failures: int = 3
    sink_failures: int = 10
    reconnect_first_s: float = 0.5
    reconnect_most_s: float = 15.0
    give_up_after_s: float | None = None
    grace_s: float = 5.0
    watch_every_s: float = 0.05
    fallback: FallbackRules = field(default_factory=FallbackRules)
    copy: bool = True

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and not 0 < value < inf:
                raise UsageError(f"{entry.name} must be a finite number above 0 (got {value})")
        if self.late not in ("mark", "drop"):
            raise UsageError(f"late must be 'mark' or 'drop' (got {self.late!r})")
