"""The benchmark of the loop: it runs, and the README's table is made of its results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "stream.py"


def test_the_readme_holds_the_table_of_the_committed_results(load_benchmark):
    script = load_benchmark("stream")
    made = script.block(json.loads(script.RESULTS.read_text()))
    text = script.README.read_text()
    assert script.with_block(text, made, (script.BEGIN, script.END)) == text


@pytest.mark.slow
def test_a_short_run_gives_every_figure(load_benchmark, tmp_path):
    output = tmp_path / "stream.json"
    options = ("--size", "64x128", "--frames", "24", "--soak", "200", "--output", output)
    subprocess.run([sys.executable, SCRIPT, *map(str, options)], check=True, capture_output=True)
    results = json.loads(output.read_text())
    assert results["throughput"]["sequential_over_slowest_stage"] > 1.8
    assert (
        results["throughput"]["over_slowest_stage"] < results["throughput"]["sequential_over_slowest_stage"]
    )
    assert results["overload"]["every_lost"] == 0
    assert results["overload"]["latest_dropped"] > 0
    assert load_benchmark("stream").block(results).count("\n") > 8
