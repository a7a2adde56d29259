"""The kept rates of the loader are those of both sizes, and complete; the script measures what it says."""

import json

import pytest

from benchmarks.places import RESULTS
from benchmarks.training import loader

CASES = {"Cityscapes, drawn": "1024x2048", "CamVid, drawn": "360x480"}


@pytest.fixture(scope="module")
def kept():
    return json.loads((RESULTS / "loader.json").read_text())


@pytest.mark.parametrize(("case", "size"), CASES.items())
def test_the_kept_rates_are_of_both_sizes(kept, case, size):
    row = kept["measured"][case]
    assert row["size"] == size
    assert row["samples"] >= 16
    rates = row["samples_per_second"]
    assert 0 < rates["pipeline"] < rates["decode and resize"]
    ratio = row["pipeline_over_decode_and_resize"]
    assert ratio == pytest.approx(rates["decode and resize"] / rates["pipeline"], rel=0.01)
    assert sum(row["shares"].values()) == pytest.approx(1, abs=0.001)
    assert kept["machine"]["cpu_count"] >= 1


def test_decoding_is_most_of_the_work_at_the_size_of_cityscapes(kept):
    shares = kept["measured"]["Cityscapes, drawn"]["shares"]
    assert shares["decode the image"] + shares["decode the labels"] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("config", ["demo", "cityscapes_r50_512x1024_80k"])
def test_every_stage_is_measured_for_either_order(tmp_path, config):
    case = loader.Case("tiny", (64, 128), config, None)
    measured = loader.measure(case, loader.open_case(case, tmp_path), 4)
    assert measured["images"] == "drawn"
    assert all(share > 0 for share in measured["shares"].values())
    assert len(measured["shares"]) == 10
    assert all(rate > 0 for rate in measured["samples_per_second"].values())
