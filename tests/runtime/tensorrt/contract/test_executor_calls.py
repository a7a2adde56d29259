"""The executor's calls through the real cuda-python of each CUDA release that is served."""

from __future__ import annotations

import pytest

BINDINGS = [
    pytest.param("cuda-bindings==12.9.4", marks=pytest.mark.slow),
    pytest.param("cuda-bindings==13.0.3", marks=pytest.mark.slow),
    pytest.param(None, id="installed"),
]


@pytest.fixture(autouse=True)
def installed():
    pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")


@pytest.mark.parametrize("requirement", BINDINGS)
def test_guests_and_labels_that_stay_are_ordered_by_events_of_the_streams_that_were_named(
    with_cuda, requirement
):
    answers, calls = with_cuda(requirement, script="executor_answers.py")
    assert answers["right"] == [True] * 4
    assert [call for call in calls if "lock" in call] == ["lock 24 aligned=1 flags=0", "unlock"]
    # The stub's graph holds what TensorRT's stand-in puts there; of a copy it knows nothing.
    assert "the graph is empty" in answers["graph"]
    assert answers["times"] == [0.0, 1.5, 1.5]  # the guest was read in place
    assert not answers["stays"]
    guest, reader = calls.index("event 15 on=5"), calls.index("event 8 on=6")
    assert calls[guest + 1] == "stream=778 waits for event 15 flags=0"
    assert "stream=778 waits for event 8 flags=0" in calls[reader:]
    assert not any("stream=777 waits" in call for call in calls)
    assert calls[-1] == "release 0"
