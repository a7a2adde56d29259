"""Handing over between threads: nothing lost, nothing stuck, everything counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danet_runtime.stream.state.slots import ClosedError, Handover, Policy


def started(target: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def finishes(thread: threading.Thread) -> bool:
    thread.join(5)
    return not thread.is_alive()


@given(st.lists(st.integers()), st.integers(1, 4))
def test_latest_keeps_the_newest_and_hands_back_the_rest_in_order(items: list[int], capacity: int) -> None:
    place: Handover[int] = Handover(capacity, "latest")
    displaced = [old for item in items if (old := place.put(item)) is not None]
    place.close()
    kept = []
    with pytest.raises(ClosedError):  # noqa: PT012
        while True:
            kept.append(place.get())
    assert displaced + kept == items
    assert kept == items[-capacity:]
    assert place.dropped == len(displaced)


def test_every_makes_the_giver_wait_for_room() -> None:
    place: Handover[int] = Handover(1)
    place.put(1)
    giver = started(lambda: place.put(2))
    time.sleep(0.02)
    assert giver.is_alive()
    assert place.get() == 1
    assert finishes(giver)
    assert place.get() == 2
    assert place.dropped == 0


@pytest.mark.parametrize("end", ["close", "abort"])
def test_ending_wakes_up_givers_and_takers(end: str) -> None:
    woken = []

    def expect_closed(call: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                call()
            except ClosedError:
                woken.append(1)

        return run

    empty: Handover[int] = Handover(1)
    full: Handover[int] = Handover(1)
    full.put(0)
    threads = [started(expect_closed(empty.get)) for _ in range(3)]
    threads += [started(expect_closed(lambda: full.put(1))) for _ in range(3)]
    time.sleep(0.02)
    for place in (empty, full):
        getattr(place, end)()
        getattr(place, end)()
    assert all(finishes(thread) for thread in threads)
    assert len(woken) == 6


def test_close_lets_the_rest_be_taken_and_abort_hands_it_back() -> None:
    closed: Handover[int] = Handover(2)
    aborted: Handover[int] = Handover(2)
    for place in (closed, aborted):
        place.put(1)
        place.put(2)
    closed.close()
    assert (closed.get(), closed.get()) == (1, 2)
    assert aborted.abort() == [1, 2]
    for place in (closed, aborted):
        with pytest.raises(ClosedError):
            place.get()
        with pytest.raises(ClosedError):
            place.put(3)


pauses = st.lists(st.sampled_from((0.0, 0.0, 0.0005)), min_size=1, max_size=5)


@settings(max_examples=30, deadline=None)
@given(
    policy=st.sampled_from(("every", "latest")),
    capacity=st.integers(1, 3),
    count=st.integers(0, 60),
    takers=st.integers(1, 3),
    give_pauses=pauses,
    take_pauses=pauses,
)
def test_under_any_schedule_each_item_is_taken_or_displaced_exactly_once(
    policy: Policy, capacity: int, count: int, takers: int, give_pauses: list[float], take_pauses: list[float]
) -> None:
    place: Handover[int] = Handover(capacity, policy)
    displaced: list[int] = []
    taken: list[list[int]] = [[] for _ in range(takers)]

    def give() -> None:
        for item in range(count):
            time.sleep(give_pauses[item % len(give_pauses)])
            old = place.put(item)
            if old is not None:
                displaced.append(old)
        place.close()

    def take(mine: list[int]) -> None:
        try:
            while True:
                mine.append(place.get())
                time.sleep(take_pauses[len(mine) % len(take_pauses)])
        except ClosedError:
            pass

    threads = [started(lambda mine=mine: take(mine)) for mine in taken] + [started(give)]  # type: ignore[misc]
    assert all(finishes(thread) for thread in threads)
    assert sorted(displaced + sum(taken, [])) == list(range(count))  # noqa: RUF017 - three short lists
    assert all(mine == sorted(mine) for mine in taken)
    assert place.dropped == len(displaced)
    if policy == "every":
        assert not displaced


@pytest.mark.parametrize(("capacity", "policy"), [(0, "every"), (1, "newest")])
def test_a_handover_that_makes_no_sense_is_refused(capacity: int, policy: Policy) -> None:
    with pytest.raises(ValueError, match="must be"):
        Handover(capacity, policy)
