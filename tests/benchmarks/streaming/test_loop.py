"""The benchmark of the loop runs, and the README's table can be made of its results."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.places import REPOSITORY
from benchmarks.tables.stream import table


@pytest.mark.slow
def test_a_short_run_gives_every_figure(tmp_path):
    output = tmp_path / "stream.json"
    options = ("--size", "64x128", "--frames", "24", "--soak", "200", "--output", output)
    command = (sys.executable, "-m", "benchmarks.streaming.loop")
    subprocess.run([*command, *map(str, options)], cwd=REPOSITORY, check=True, capture_output=True)
    results = json.loads(output.read_text())
    assert results["throughput"]["sequential_over_slowest_stage"] > 1.8
    assert (
        results["throughput"]["over_slowest_stage"] < results["throughput"]["sequential_over_slowest_stage"]
    )
    assert results["overload"]["every_lost"] == 0
    assert results["overload"]["latest_dropped"] > 0
    assert table(results).count("\n") > 8
