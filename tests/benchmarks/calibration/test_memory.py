"""The memory benchmark measures the process that it starts, and that one alone."""

import json
import sys

import pytest

from benchmarks import process
from benchmarks.calibration import memory
from benchmarks.places import RESULTS

MIB = 2**20


def allocate(mib):
    return [sys.executable, "-I", "-S", "-c", f"held = b'x' * ({mib} * 2**20); del held"]


def test_a_peak_is_what_a_process_held_at_most_even_if_it_gave_it_back():
    small, large = process.peak_memory_bytes(allocate(1)), process.peak_memory_bytes(allocate(101))
    assert large - small == pytest.approx(100 * MIB, rel=0.05)


def test_the_memory_of_this_process_does_not_count():
    held = b"x" * (200 * MIB)
    assert process.peak_memory_bytes(allocate(1)) < 64 * MIB
    assert len(held) == 200 * MIB


def test_a_command_that_fails_ends_the_benchmark_with_what_it_said():
    with pytest.raises(SystemExit, match=r"ended with 3:\nno such frame"):
        process.peak_memory_bytes(
            [sys.executable, "-c", "import sys; print('no such frame', file=sys.stderr); sys.exit(3)"]
        )


def test_the_growth_is_that_of_the_medians_from_the_fewest_frames_to_the_most():
    assert memory.growth({64: [100, 100, 900], 256: [103, 105, 300]}) == pytest.approx(1.05)


def test_counts_are_measured_in_turn(monkeypatch):
    asked = []
    monkeypatch.setattr(memory, "peak_memory_bytes", lambda command: asked.append(command) or len(asked))
    assert memory.measure((2, 4), 2, lambda count: [str(count)]) == {2: [1, 3], 4: [2, 4]}
    assert asked == [["2"], ["4"], ["2"], ["4"]]


def test_time_is_told_by_the_clock_and_by_the_cpu():
    taken = process.run_alone([sys.executable, "-I", "-S", "-c", "import time; time.sleep(0.3)"])
    assert taken.seconds >= 0.3
    assert 0 < taken.cpu_seconds < taken.seconds


def test_the_kept_peak_does_not_grow_with_the_frames():
    kept = json.loads((RESULTS / "calibration_memory.json").read_text())
    for what in ("read", "calibrate"):
        peaks = {int(count): values for count, values in kept["peak_bytes"][what].items()}
        assert set(peaks) == {64, 256}
        assert memory.growth(peaks) == kept["ratio"][what] <= memory.GOAL
