"""The state follows from the conditions, every change is told once, in order."""

from __future__ import annotations

import itertools
import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from danet_runtime.results.health import Health, HealthEvent

KEYS = ("camera", "sink", "clock")
actions = st.one_of(
    st.tuples(st.just("set"), st.sampled_from(KEYS), st.sampled_from(("degraded", "stale"))),
    st.tuples(st.just("clear"), st.sampled_from(KEYS), st.none()),
    st.tuples(st.sampled_from(("started", "fault")), st.none(), st.none()),
)


@given(st.lists(actions, max_size=30))
def test_the_state_is_the_worst_of_what_holds(plan: list[tuple[str, str | None, str | None]]) -> None:
    health = Health()
    holds: dict[str, str] = {}
    started = faulted = False
    for what, key, severity in plan:
        if what == "set":
            holds[str(key)] = str(severity)
            health.set(str(key), severity, f"{key} {severity}")  # type: ignore[arg-type]
        elif what == "clear":
            holds.pop(str(key), None)
            health.clear(str(key))
        elif what == "started":
            started = True
            health.started()
        else:
            faulted = True
            health.fault("broken")
        expected = "ready"
        if holds:
            expected = "stale" if "stale" in holds.values() else "degraded"
        if not started:
            expected = "starting"
        assert health.state == ("fault" if faulted else expected)
        assert set(health.reasons) == {f"{k} {v}" for k, v in holds.items()} | (
            {"broken"} if faulted else set()
        )
    events = health.events
    assert [event.previous for event in events[1:]] == [event.state for event in events[:-1]]
    for before, after in itertools.pairwise(events):
        assert (before.state, before.reasons) != (after.state, after.reasons)
        assert before.monotonic_ns <= after.monotonic_ns


def test_a_listener_gets_every_change_in_order_though_another_is_slow_or_raises() -> None:
    seen: list[HealthEvent] = []

    def raising(event: HealthEvent) -> None:
        raise ValueError(event.state)

    def slow(event: HealthEvent) -> None:
        time.sleep(0.01)

    health = Health([slow, raising, seen.append])
    started = time.monotonic()
    health.started()
    for number in range(20):
        health.set("camera", "stale", f"lost {number}")
    assert time.monotonic() - started < 0.1  # nobody waited for the slow one
    health.close()
    assert seen == health.events
    assert len(seen) == 21
    assert not [thread for thread in threading.enumerate() if thread.name == "danet-health"]
