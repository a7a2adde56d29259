"""The method with the best score is chosen, whatever the score is."""

import pytest
from onnx import helper

from danet_calibration.errors import CalibrationError
from danet_calibration.int8.ranges.histograms import MagnitudeHistogram
from danet_calibration.int8.ranges.method_choice import METHODS, compare_methods
from danet_calibration.int8.ranges.placement_rules import PlacedInput
from danet_calibration.int8.ranges.ranges import Ranges

RANGES = Ranges([PlacedInput("conv", 0, "x", None)], {1: {"x": MagnitudeHistogram()}})


def compare(scores, **arguments):
    """Scores in the order in which methods are tried; each is asked for once."""
    left, models = iter(scores), []

    def quantise(model, inputs):
        assert model == b"model"
        assert [item.node for item in inputs] == ["conv"]
        models.append(helper.make_model(helper.make_graph([], f"graph {len(models)}", [], [])))
        return models[-1]

    def score(data):
        assert data == models[-1].SerializeToString()
        return next(left)

    return compare_methods(b"model", RANGES, quantise, score, **arguments)


def test_the_highest_score_wins_and_all_are_told():
    tried = []
    result = compare([0.5, 0.7, 0.9, 0.2], progress=tried.append)
    assert result.scores == dict(zip(METHODS, [0.5, 0.7, 0.9, 0.2], strict=True))
    assert result.best == "percentile"
    assert tuple(tried) == tuple(result.scores) == ("max", "entropy", "percentile", "mse")


@pytest.mark.parametrize(("scores", "best"), [([0.5] * 4, "max"), ([0.1, 0.5, 0.5, 0.5], "entropy")])
def test_ties_go_to_the_earlier(scores, best):
    assert compare(scores).best == best


def test_a_part_of_the_methods_in_another_order():
    assert compare([0.3, 0.3], methods=("mse", "max")).best == "mse"


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused(wrong):
    with pytest.raises(CalibrationError, match="score of entropy"):
        compare([0.5, wrong, 0.5, 0.5])


def test_no_method_is_refused():
    with pytest.raises(CalibrationError, match="got none"):
        compare([], methods=())
