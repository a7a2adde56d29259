"""Options of a stream (time limits and policies), checked together."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from math import inf
from typing import Literal

from danet_runtime.errors import UsageError
from danet_runtime.stream.state.ladder import LadderRules

LatePolicy = Literal["mark", "drop"]


@dataclass(frozen=True)
class StreamOptions:
    """Times and limits of a stream; every time is in the unit that its name ends with.

    Attributes:
        deadline_ms: A result older than this at delivery is late; ``None``: there is no deadline.
        late: ``mark`` delivers a late result, marked; ``drop`` counts it and delivers nothing.
        golden: Run the bundle's golden frame before anything else, and refuse to start on wrong labels.
        source_timeout_s: A source that gives no frame for so long is stuck.
        open_timeout_s: A lost source has so long to be opened again, before the next try.
        inference_timeout_s: An inference that takes so long is stuck, and with it this process.
        start_timeout_s: As ``inference_timeout_s``, for the golden frame: the first inference also loads.
        sink_timeout_s: A sink that is busy with one frame for so long is stuck.
        sink_give_up_s: Where the stream waits for its sinks (``every``), it goes on without one that is busy
            with one frame for so long.
        sink_recovery_s: Likewise where a write fails for want of room or the like: it is tried again for so
            long before the sink is given up.
        stale_after_s: Masks of a live source older than this are stale.
        frozen_after_s: Identical frames of a live source for so long are a frozen camera.
        black_after_s: Black frames of a live source for so long are a covered or dead camera.
        jump_shown_s: A jump of a clock is shown for so long.
        damage_shown_s: So long after a damaged frame the health still says so.
        key_frame_timeout_s: A source that gives only damaged frames for so long is stuck; until then it is
            waiting for a key frame.
        inference_failures: So many failed inferences in a row are a fault (live sources; of a file the first
            ends the stream).
        sink_failures: So many failed writes in a row and a sink is given up (under ``latest``, and
            not for those that reconnect or recover; under ``every`` the first: an output with a hole is not
            whole).
        reconnect_first_s: Pause before a lost live source is opened again; doubled up to ...
        reconnect_most_s: ... this, each with a random part of up to a half taken off, so that many cameras
            do not come back in step.
        give_up_after_s: A live source that is lost for so long ends its part of the stream; ``None``: never.
        grace_s: At the end, a thread that does not return by then is given up.
        watch_every_s: Time between two checks of the watchdog.
        ladder: Rules for stepping between several models.
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
    ladder: LadderRules = field(default_factory=LadderRules)

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and not 0 < value < inf:
                raise UsageError(f"{entry.name} must be a finite number above 0 (got {value})")
        if self.late not in ("mark", "drop"):
            raise UsageError(f"late must be 'mark' or 'drop' (got {self.late!r})")
