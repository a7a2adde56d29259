"""Latencies: the parts add up to the whole, and the percentiles are numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danet_runtime.timing import STAGES, LatencyRecorder

rows = st.lists(
    st.tuples(st.lists(st.integers(0, 10**9), min_size=5, max_size=5), st.integers(0, 10**9)),
    min_size=1,
    max_size=50,
)


@given(rows)
def test_the_stages_and_the_remainder_add_up_to_the_total(frames: list[tuple[list[int], int]]) -> None:
    recorder = LatencyRecorder()
    for stages, waiting in frames:
        recorder.add(dict(zip(STAGES, stages, strict=True)), sum(stages) + waiting)
    summary = recorder.summary()
    assert tuple(summary.stages) == STAGES
    parts = sum(stage.mean_ms for stage in summary.stages.values()) + summary.remainder.mean_ms
    assert parts == pytest.approx(summary.total.mean_ms)
    assert summary.frames == summary.window == len(frames)
    totals = [(sum(stages) + waiting) / 1e6 for stages, waiting in frames]
    assert summary.total.p95_ms == pytest.approx(np.percentile(totals, 95))
    assert summary.total.max_ms == pytest.approx(max(totals))


def test_percentiles_are_of_the_latest_frames_and_the_maximum_is_of_all() -> None:
    recorder = LatencyRecorder(("inference",), capacity=4)
    for ms in (100, 1, 1, 1, 1, 2):
        recorder.add({"inference": ms * 10**6}, ms * 10**6)
    summary = recorder.summary()
    assert (summary.frames, summary.window) == (6, 4)
    assert summary.total.max_ms == 100
    assert summary.total.p99_ms < 3


def test_a_stage_is_known_by_its_name_whatever_the_order() -> None:
    recorder = LatencyRecorder()
    recorder.add({"sink": 1, "postprocess": 2, "inference": 3, "preprocess": 4, "capture": 5}, 15)
    means = {stage: round(1e6 * latency.mean_ms) for stage, latency in recorder.summary().stages.items()}
    assert means == {"capture": 5, "preprocess": 4, "inference": 3, "postprocess": 2, "sink": 1}


def test_no_frame_gives_zeros() -> None:
    summary = LatencyRecorder().summary()
    assert summary.frames == 0
    assert summary.total.p99_ms == 0


def test_a_capacity_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LatencyRecorder(capacity=0)
