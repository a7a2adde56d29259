"""Whose a slot is: at every moment one hand may write it, or readers have it, or it is free; none is lost.

The parts of a stream are the real ones, without their threads: what a thread would do next is a step here,
so that any order of them is found and one that fails is told. Who has what is read off the places themselves.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from stream_parts import HW, Frames

from danet_runtime.clock import now_ns
from danet_runtime.frames.pixel_formats import BGR
from danet_runtime.results.health import Health
from danet_runtime.results.result import Result
from danet_runtime.results.slot import FrameSlot
from danet_runtime.sinks import StreamFormat
from danet_runtime.sources import FrameInfo
from danet_runtime.stream.pipeline.camera import Camera
from danet_runtime.stream.pipeline.camera_pipeline import CameraPipeline
from danet_runtime.stream.state.context import StreamContext
from danet_runtime.stream.state.options import StreamOptions
from danet_runtime.stream.state.pool import SlotPool
from danet_runtime.stream.state.slots import ClosedError, Intake
from danet_runtime.stream.turns import Turns

SIZES = (HW, (24, 32))


class Sink:
    """Takes frames of any size."""

    name = "sink"

    def __init__(self) -> None:
        self.fails = False

    def open(self, stream_format: StreamFormat) -> None: ...

    def adopt(self, stream_format: StreamFormat) -> None: ...

    def write(self, result: Result) -> None:
        if self.fails:
            raise OSError("the disk is full")

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None: ...


class Owners(RuleBasedStateMachine):
    """One camera; capture, inference, the sinks' threads and the caller are played by the rules."""

    @initialize(policy=st.sampled_from(("every", "latest")), sinks=st.integers(0, 2), late=st.booleans())
    def begin(self, policy: Any, sinks: int, late: bool) -> None:
        options = StreamOptions(
            deadline_ms=1e6, late="drop" if late else "mark", stale_after_s=1e6, sink_failures=2
        )
        self.context = StreamContext(options, Health())
        self.intake: Intake[FrameSlot] = Intake([policy])
        self.caller: Intake[FrameSlot] = Intake([policy])
        self.source = Frames(1, live=True)
        camera = Camera(0, "camera", self.source, [Sink() for _ in range(sinks)], policy)
        self.pipeline = CameraPipeline(camera, self.context, self.intake, self.caller, under_way=2)
        self.delivery, self.slots = self.pipeline.delivery, self.pipeline.slots
        self.slots.allocate(HW, BGR, None)
        self.delivery.open(StreamFormat(HW, None, (), None, BGR), is_assumed=False)  # type: ignore[arg-type]
        self.turns = Turns(self._next)
        self.turn = self.turns.begin()
        self.captured: FrameSlot | None = None
        self.inferring: list[FrameSlot] = []
        self.frames = 0
        self.size_hw = HW
        self.has_left = False
        self.is_over = False

    def _next(self) -> tuple[Any, FrameSlot]:
        number, slot = self.caller.get()
        assert number == 0
        return self.delivery, slot

    @property
    def waits(self) -> bool:
        return self.pipeline.camera.policy == "every"

    @property
    def is_stopped(self) -> bool:
        """At the end of the stream, or when none of the sinks is left that it waits for."""
        return self.pipeline.capture.has_ended

    @property
    def sinks_have_room(self) -> bool:
        return not self.waits or not any(
            sink_worker._place._items for sink_worker in self.delivery.sink_workers
        )

    # What capture does.

    @precondition(lambda self: self.captured is None and self.slots._free._items)
    @rule()
    def capture_gets_one(self) -> None:
        self.captured = self.slots.get()

    @precondition(lambda self: self.captured is not None and not self.is_stopped)
    @rule(size_hw=st.sampled_from(SIZES))
    def the_camera_is_lost_and_comes_back(self, size_hw: tuple[int, int]) -> None:
        self.slots.put(self.captured)
        self.captured = None
        self.size_hw = self.source.size_hw = size_hw
        self.pipeline._adopt()

    @precondition(
        lambda self: self.captured is not None and not (self.waits and self.intake._items[0] is not None)
    )
    @rule()
    def a_frame_was_read(self) -> None:
        slot, self.captured = self.captured, None
        slot.info = FrameInfo(self.frames, now_ns())
        self.frames += 1
        if self.is_stopped:
            with pytest.raises(ClosedError):
                self.pipeline.take(slot)
        else:
            assert self.pipeline.take(slot)

    # What inference does.

    @precondition(lambda self: self.intake._items[0] is not None and len(self.inferring) < 2)
    @rule()
    def inference_takes_one(self) -> None:
        _, slot = self.intake.get()
        self.inferring.append(slot)

    @precondition(
        lambda self: (
            self.inferring
            and self.sinks_have_room
            and not (self.waits and not self.has_left and self.caller._items[0] is not None)
        )
    )
    @rule(is_late=st.booleans())
    def it_is_delivered(self, is_late: bool) -> None:
        self.delivery.deliver(self.inferring.pop(0), is_late)

    @precondition(lambda self: self.inferring)
    @rule()
    def the_model_fails(self) -> None:
        self.pipeline.drop_failed(self.inferring.pop(0))

    @precondition(lambda self: self.inferring and self.is_over)
    @rule()
    def a_frame_under_way_is_abandoned(self) -> None:
        self.pipeline.abandon(self.inferring.pop(0))

    # What those who read do.

    @precondition(lambda self: any(sink_worker._place._items for sink_worker in self.delivery.sink_workers))
    @rule(fails=st.booleans(), which=st.integers(0, 1))
    def a_sink_is_through_with_one(self, fails: bool, which: int) -> None:
        busy = [sink_worker for sink_worker in self.delivery.sink_workers if sink_worker._place._items]
        sink_worker = busy[which % len(busy)]
        sink_worker.sink.fails = fails  # type: ignore[attr-defined]
        slot = sink_worker._place.get()
        self._look(Counter({slot: 1}))
        sink_worker._write(slot)
        if sink_worker.lost:
            sink_worker._drain()  # its thread ends

    @precondition(lambda self: not self.has_left and self.caller._items[0] is not None)
    @rule()
    def the_caller_asks_for_the_next(self) -> None:
        result = self.turns.next(self.turn, copy=False)
        assert result.frame_id >= 0

    @precondition(lambda self: not self.has_left and self.frames > 8)
    @rule()
    def the_caller_leaves(self) -> None:
        self.has_left = True
        for _, slot in self.caller.abort():
            self.delivery.release(slot)

    @rule()
    def somebody_asks_for_the_newest(self) -> None:
        self.delivery.latest(1e9)

    # The end.

    @precondition(lambda self: not self.is_over and self.frames > 12)
    @rule()
    def the_stream_ends(self) -> None:
        self.is_over = True
        for _, slot in self.intake.abort():
            self.pipeline.abandon(slot)
        self.context.end()

    @invariant()
    def no_slot_is_in_two_hands_and_none_is_lost(self) -> None:
        if hasattr(self, "pipeline"):
            self._look(Counter())

    def _look(self, writing: Counter[FrameSlot]) -> None:
        alone = Counter(slot for slot in (self.captured, self.intake._items[0], *self.inferring) if slot)
        readers = Counter(writing)
        for sink_worker in self.delivery.sink_workers:
            readers.update(sink_worker._place._items)
        kept = (self.caller._items[0], self.delivery._newest, self.turns._held and self.turns._held.slot)
        readers.update(slot for slot in kept if slot)
        free = Counter(self.slots._free._items)
        assert max((alone + free).values(), default=1) == 1
        assert not alone.keys() & readers.keys()
        assert not free.keys() & (alone + readers).keys()
        assert not set(self.slots.retired) & (free + alone + readers).keys()
        everywhere = (free + alone + readers).keys()
        if not self.is_stopped:  # then the pool gives out no more, and forgets which are free
            assert set(self.slots.slots) == everywhere
        assert self.slots.held == {**dict.fromkeys(alone, 0), **readers}
        frames = self.pipeline.counts.describe(self.intake.dropped(0))
        assert frames["in"] == self.frames == sum(frames.values()) - frames["in"]

    def teardown(self) -> None:
        """However it went, what is left at the end is the newest, and what the caller holds."""
        if not hasattr(self, "pipeline"):
            return
        if self.captured is not None:
            self.slots.put(self.captured)
            self.captured = None
        if not self.is_over:
            self.the_stream_ends()
        while self.inferring:
            self.pipeline.abandon(self.inferring.pop())
        for sink_worker in self.delivery.sink_workers:
            sink_worker._drain()
        if not self.has_left:
            self.the_caller_leaves()
        self._look(Counter())
        held = self.turns._held and self.turns._held.slot
        assert self.slots.held.keys() == {slot for slot in (self.delivery._newest, held) if slot}


TestOwners = Owners.TestCase
TestOwners.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def pool_of(count: int) -> SlotPool:
    pool = SlotPool("camera", count)
    pool.allocate(HW, BGR, None)
    return pool


def test_a_slot_that_is_shared_cannot_be_given_back_by_one_of_its_readers_alone() -> None:
    pool = pool_of(1)
    slot = pool.get()
    pool.share(slot, 2)
    with pytest.raises(RuntimeError, match="of camera was handed on by who does not have it alone"):
        pool.put(slot)
    with pytest.raises(RuntimeError, match="alone"):
        pool.share(slot, 1)
    pool.release(slot)
    pool.release(slot)
    assert pool.get() is slot


def test_a_free_slot_cannot_be_released_borrowed_or_given_back_again() -> None:
    pool = pool_of(1)
    slot = pool.get()
    pool.put(slot)
    for act in (pool.put, pool.release, pool.borrow):
        with pytest.raises(RuntimeError, match="a slot of camera was"):
            act(slot)
    assert not pool.held
