"""The deadline fallback: steps down on sustained misses, up on room, and does not swing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from danet_runtime.stream.state.fallback import DeadlineFallback, FallbackRules

RULES = FallbackRules(window=10, rest=20)


def feed(fallback: DeadlineFallback, ages: list[float]) -> list[int]:
    return [level for age in ages if (level := fallback.observe(age)) is not None]


def test_one_slow_frame_changes_nothing() -> None:
    fallback = DeadlineFallback(2, 100, RULES)
    assert feed(fallback, ([20.0] * 30 + [500.0]) * 20) == []


def test_sustained_misses_step_down_level_by_level_and_never_beyond_the_last() -> None:
    fallback = DeadlineFallback(3, 100, RULES)
    assert feed(fallback, [150.0] * 100) == [1, 2]


def test_recovery_steps_up_only_with_headroom_and_after_a_rest() -> None:
    fallback = DeadlineFallback(2, 100, RULES)
    feed(fallback, [150.0] * 10)
    assert feed(fallback, [80.0] * 100) == []  # in time, but the better model would not be
    assert feed(fallback, [30.0] * 19) == [0]


def test_a_step_up_that_does_not_hold_is_tried_more_and_more_rarely() -> None:
    fallback = DeadlineFallback(2, 100, RULES)
    frames_between = []
    since = 0
    for _ in range(5000):
        since += 1
        if fallback.observe(150.0 if fallback.level == 0 else 30.0) == 0:
            frames_between.append(since)
            since = 0
    assert frames_between == sorted(frames_between)
    assert frames_between[4] > 4 * frames_between[1]


@given(st.lists(st.floats(0, 1000), max_size=400), st.integers(1, 4))
def test_the_level_always_exists_and_steps_are_of_one_at_least_a_window_apart(
    ages: list[float], levels: int
) -> None:
    fallback = DeadlineFallback(levels, 100, RULES)
    level, since = 0, 0
    for age in ages:
        since += 1
        new = fallback.observe(age)
        if new is not None:
            assert abs(new - level) == 1
            assert since >= RULES.window
            level, since = new, 0
        assert 0 <= fallback.level == level < levels
