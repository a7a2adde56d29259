"""The time in which a process ran: limits count no other."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danet_runtime.processes import running
from danet_runtime.processes.running import Patience, RunningClock

SECOND = 10**9


class Hand:
    """A clock that is set by hand."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.ns = 5 * SECOND
        patch.setattr(running, "now_ns", lambda: self.ns)


@given(
    st.lists(
        st.tuples(st.floats(0.0, 30.0), st.sampled_from(("read", "look", "begin", "resumed"))), max_size=40
    )
)
def test_it_never_falls_back_and_never_counts_more_than_has_passed(steps: list[tuple[float, str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        hand = Hand(patch)
        began, clock = hand.ns, RunningClock()
        before = clock.now_ns()
        for seconds, what in steps:
            hand.ns += int(seconds * SECOND)
            if what == "look":
                clock.look()
            elif what == "begin":
                clock.begin(0.05)
            elif what == "resumed":
                assert clock.resumed_ns() <= hand.ns
            now = clock.now_ns()
            assert before <= now <= hand.ns - began
            before = now


def test_it_counts_what_is_looked_at_in_time_and_of_a_standstill_a_quarter_of_a_second() -> None:
    with pytest.MonkeyPatch.context() as patch:
        hand = Hand(patch)
        clock = RunningClock()
        clock.begin(0.05)
        for _ in range(100):
            hand.ns += SECOND // 20
            assert clock.look() == 0.0
        assert clock.now_ns() == 5 * SECOND
        hand.ns += 7 * SECOND
        assert clock.now_ns() == pytest.approx(5.25 * SECOND)
        assert clock.look() == pytest.approx(7.0)
        assert clock.now_ns() == pytest.approx(5.25 * SECOND)
        assert clock.resumed_ns() == hand.ns


def test_whoever_runs_first_after_a_standstill_knows_of_it_and_so_do_all_after_him() -> None:
    with pytest.MonkeyPatch.context() as patch:
        hand = Hand(patch)
        clock = RunningClock()
        clock.begin(0.05)
        read_ns = hand.ns
        hand.ns += 3 * SECOND
        assert clock.resumed_ns() > read_ns  # before the watchdog has looked
        read_ns = hand.ns
        hand.ns += SECOND // 100
        assert clock.look() == 0.0
        assert not clock.resumed_ns() > read_ns  # once, not twice


def test_a_time_without_any_watchdog_is_no_standstill() -> None:
    with pytest.MonkeyPatch.context() as patch:
        hand = Hand(patch)
        clock = RunningClock()
        hand.ns += 100 * SECOND
        clock.begin(0.05)
        assert clock.resumed_ns() == 0


def test_a_limit_is_over_in_time_and_a_standstill_is_not_counted() -> None:
    with pytest.MonkeyPatch.context() as patch:
        hand = Hand(patch)
        patience, waited = Patience(2.0), 0.0
        while step_s := patience.step_s():
            assert step_s <= 0.25
            waited += step_s
            hand.ns += int(step_s * SECOND)
            if waited == 1.0:
                hand.ns += 60 * SECOND
        assert 1.5 <= waited <= 2.0


def test_a_limit_of_nothing_is_over_at_once() -> None:
    assert Patience(0.0).step_s() == 0.0


def test_many_threads_may_look_at_once() -> None:
    clock = RunningClock()

    def look() -> None:
        for _ in range(500):
            clock.look()
            clock.resumed_ns()

    threads = [threading.Thread(target=look) for _ in range(4)]
    before = clock.now_ns()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.now_ns() >= before
