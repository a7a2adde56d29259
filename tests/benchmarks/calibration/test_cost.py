"""The kept cost of a calibration is that of the full model at the full size, and complete."""

import json

from benchmarks.places import RESULTS


def test_the_kept_cost_is_that_of_r50_at_512x1024_on_16_frames():
    kept = json.loads((RESULTS / "calibration_cost.json").read_text())
    assert (kept["model"], kept["frames"], kept["method"]) == ("R-50, 512x1024", 16, "max")
    assert kept["machine"]["cpu_count"] == 2
    assert 0 < kept["cpu_seconds"] <= 2 * kept["seconds"]
    assert 0 < kept["peak_bytes"] < kept["machine"]["memory_bytes"]
    assert kept["conv_mac_share_int8"] > 0.8
