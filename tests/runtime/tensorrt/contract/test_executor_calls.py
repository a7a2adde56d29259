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
    assert answers["right"] == [True] * 5
    assert [call for call in calls if "lock" in call] == ["lock 24 aligned=1 flags=0", "unlock"]
    # The stub's graph holds what TensorRT's stand-in puts there; of a copy it knows nothing.
    assert "the graph is empty" in answers["graph"]
    assert answers["times"] == [1.5, 1.5, 1.5]
    guest = calls.index("event 7 on=5")
    assert calls[guest + 1] == "stream=777 waits for event 7 flags=0"
    # The first event of labels that stay is for the default stream, the next for the reader that was named.
    reader, default = calls.index("event 18 on=6"), calls.index("event 17 on=1")
    assert reader < default
    assert calls[default + 1 : default + 3] == [
        *("stream=778 waits for event 17 flags=0", "stream=778 waits for event 18 flags=0")
    ]
    # Of another context: its event is of that context, and the copy is one between the two.
    foreign = calls.index("push 77")
    assert calls[foreign : foreign + 8] == [
        *("push 77", "event flags=2", "event 19 on=5", "push 64", "stream=777 waits for event 19 flags=0"),
        *("pop 64", "destroy event 19", "pop 77"),
    ]
    assert "copy 72 from context 77 to 64 stream=777" in calls[foreign:]
    assert calls[-1] == "release 0"


def test_on_an_integrated_gpu_the_slots_pinned_memory_is_mapped_and_is_all_that_there_is(with_cuda):
    answers, calls = with_cuda(None, script="executor_answers.py", DRIVER_STUB_INTEGRATED="1")
    assert answers["right"] == [True] * 5
    mapped = ["pinned 72 flags=2", "mapped flags=0", "pinned 24 flags=2", "mapped flags=0"] * 2
    assert [call for call in calls if call.startswith(("pinned", "mapped", "device"))] == [
        *mapped,
        "device 24",
    ]
    assert not [call for call in calls if call.startswith(("upload", "download"))]
