"""The README's figures of INT8 are those of the results."""

import json
import re

from benchmarks.places import RESULTS
from benchmarks.tables import calibration as tables
from benchmarks.tables.text import WIDTH

MEASURED = (
    "calibration_memory",
    "camvid_mixed_precision",
    "calibration_cost",
    "cityscapes_agreement",
    "rtx_engines",
    "rtx_int8_memory",
)


def candidate(name, share, miou, gate):
    return {
        "name": name,
        "mib": 3.25,
        "conv_mac_share_int8": share,
        "gate": gate,
        "computed_in": "FP32",
        "miou": miou,
        "miou_drop_points": 100 * (0.56 - miou),
        "miou_drop_interval": [100 * (0.55 - miou), 100 * (0.57 - miou)],
        "near_the_limit": ["sign lost 1.90 points of 2"] if share == 1 else [],
        "class_iou": {"Sky": miou, "Pedestrian": 0.25, "Bicyclist": None},
    }


SEARCH = {
    "size": "360x480",
    "calibration_frames": 128,
    "gate": "passed",
    "reason": "INT8 everywhere misses it; with 2 of 40 layers in FP16 it holds",
    "rules": {"not_in_bundle": ["motorcycle"]},
    "measured": ["Pedestrian"],
    "not_measured": ["Bicyclist"],
    "candidates": [
        candidate("INT8 everywhere", 1.0, 0.5, "failed"),
        candidate("mixed", 0.91, 0.555, "passed"),
        candidate("FP32", 0.0, 0.56, "passed"),
    ],
    "method": "mse",
    "methods_compared_by": "mIoU",
    "method_scores": {"max": 0.5, "mse": 0.55},
    "convergence_method": "mse",
    "convergence": [{"frames": 32, "next_frames": 64, "median_change": 0.0123, "worst_change": 0.05}],
    "fp16_range": {
        "frames": 4,
        "tensors_fp16": 90,
        "attention": [{"product": "Q^T K", "largest": 131.0, "share_of_fp16": 0.002}],
        "nonfinite_when_rounded": 0,
        "kept_fp32": [],
    },
}
TRAINING = {"steps": 3000, "training_seconds": 5400.0}


def test_every_candidate_stands_in_a_column_with_its_figures():
    made = tables.mixed_precision(SEARCH, TRAINING)
    assert "|  | INT8 everywhere | mixed | FP32 |" in made
    assert "| convolution MACs on INT8 | 100.0% | 91.0% | 0.0% |" in made
    assert "| gate | failed | passed | passed |" in made
    assert "| **mIoU** | **50.0** | **55.5** | **56.0** |" in made
    assert "| Bicyclist |" not in made  # it occurs in no label
    assert "| points of mIoU lost, 95 % interval | 6.00 (5.00 to 7.00) |" in made
    text = re.sub(r"\s+", " ", made)
    assert "passed for mIoU, Pedestrian" in text
    assert "too few, pixels of motorcycle, Bicyclist" in text
    assert "elsewhere. sign lost 1.90 points of 2. Methods" in text
    assert "3000 steps (90 minutes; `danet train" in text
    assert "--steps 3000`)" in text
    assert "max 50.00, mse 55.00 (on frames of the split that it was trained on); taken: mse" in text
    assert "1.2 %, and the one that moves most by 5.0 %, from 32 to 64 frames" in text
    assert "kept in FP32: nothing" in text


def test_a_search_whose_gate_failed_is_shown_without_what_only_a_bundle_holds():
    kept = ("size", "calibration_frames", "gate", "reason", "rules", "measured", "not_measured", "candidates")
    failed = {key: SEARCH[key] for key in kept}
    made = tables.mixed_precision(failed, None)
    assert "| gate | failed |" in made
    assert "Methods" not in made


def test_what_was_not_measured_is_left_out(tmp_path):
    assert tables.block(tmp_path) == ""
    (tmp_path / "calibration_memory.json").write_text((RESULTS / "calibration_memory.json").read_text())
    made = tables.block(tmp_path)
    assert made.startswith("Calibration reads frames one by one")
    assert "Engines" not in made


def test_no_line_of_prose_is_longer_than_the_readmes():
    lines = tables.block(RESULTS).splitlines()
    assert all(len(line) <= WIDTH for line in lines if not line.startswith("|"))


def test_the_kept_results_name_the_machine_and_no_path_of_it():
    for name in MEASURED:
        kept = (RESULTS / f"{name}.json").read_text()
        assert json.loads(kept)["machine"]["cpu_count"] > 0
        assert '"/' not in kept
