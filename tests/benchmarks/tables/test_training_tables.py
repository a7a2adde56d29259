"""The README's figures of training are those of the results."""

import json

from benchmarks.places import RESULTS
from benchmarks.tables import training as tables


def test_what_was_not_measured_is_left_out(tmp_path):
    assert tables.block(tmp_path) == ""
    kept = json.loads((RESULTS / "loader.json").read_text(encoding="utf-8"))
    (tmp_path / "loader.json").write_text(json.dumps(kept))
    made = tables.block(tmp_path)
    assert "benchmarks.training.loader" in made
    assert "CamVid, val" not in made


def test_the_best_on_the_way_stands_beside_the_last():
    document = {
        "config": {"model": {"depth": 18, "base_channels": 32}},
        "steps": 3000, "miou": 0.6577, "best": {"step": 2500, "miou": 0.65961}, "training_seconds": 3600,
    }  # fmt: skip
    search = {"machine": {"cpu": "EPYC", "cpu_count": 2}}
    row = tables.trained(document, search).splitlines()[-1]
    assert "| 3000 | 65.77 | 65.96 after 2500 | 60 min, 2 cores of an EPYC, other work beside it |" in row
