"""The demo's tables are those of its figures."""

import json

import pytest

from benchmarks.places import RESULTS
from benchmarks.tables import demo


@pytest.fixture
def kept():
    return json.loads((RESULTS / "demo.json").read_text(encoding="utf-8"))


def written(folder, document):
    (folder / "demo.json").write_text(json.dumps(document))
    return folder


def test_without_figures_there_is_nothing(tmp_path):
    assert (demo.outcome(tmp_path), demo.classes(tmp_path)) == ("", "")


def test_each_class_that_occurs_has_a_row_and_the_others_are_named(tmp_path, kept):
    kept["exported"]["iou"] = {
        "fp32": {"road": 0.9468, "wall": None, "train": None, "car": 0.5},
        "int8": {"road": 0.9512, "wall": None, "train": None, "car": None},
    }
    kept["exported"]["miou"] = {"fp32": 0.72341, "int8": 0.6}
    made = demo.classes(written(tmp_path, kept))
    table = made[made.index("| class") :].splitlines()
    assert table[0] == "| class | FP32 | INT8 |"
    assert table[2:] == ["| road | 94.7 | 95.1 |", "| car | 50.0 | - |", "| **mIoU** | **72.3** | **60.0** |"]
    assert "Wall and train do not occur in the scenes." in " ".join(made.split())


def test_a_score_that_was_not_measured_is_said_not_to_be(tmp_path, kept):
    kept["exported"]["miou"]["fp16"] = None
    assert "| mIoU, exported fp16 | not measured |" in demo.outcome(written(tmp_path, kept))
