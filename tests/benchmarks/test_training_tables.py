"""The README's figures of training are those of the results."""

import json

import pytest


@pytest.fixture(scope="module")
def tables(load_benchmark):
    return load_benchmark("training_tables")


def test_the_readme_holds_what_the_results_give(tables, load_benchmark):
    readme = load_benchmark("readme_table")
    text = readme.README.read_text(encoding="utf-8")
    made = tables.block(tables.RESULTS)
    assert readme.with_block(text, made, tables.MARKERS) == text, "run python benchmarks/training_tables.py"


def test_what_was_not_measured_is_left_out(tables, tmp_path):
    assert tables.block(tmp_path) == ""
    kept = json.loads((tables.RESULTS / "loader.json").read_text(encoding="utf-8"))
    (tmp_path / "loader.json").write_text(json.dumps(kept))
    made = tables.block(tmp_path)
    assert "benchmarks/loader.py" in made
    assert "CamVid, val" not in made


def test_the_best_on_the_way_stands_beside_the_last(tables):
    document = {
        "config": {"model": {"depth": 18, "base_channels": 32}},
        "steps": 3000, "miou": 0.6577, "best": {"step": 2500, "miou": 0.65961}, "training_seconds": 3600,
    }  # fmt: skip
    ladder = {"machine": {"cpu": "EPYC", "cpu_count": 2}}
    row = tables.trained(document, ladder).splitlines()[-1]
    assert "| 3000 | 65.77 | 65.96 after 2500 | 60 min, 2 cores of an EPYC, other work beside it |" in row
