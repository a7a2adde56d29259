"""Trained scales replace the calibrated ones, all of them or none."""

import numpy as np
import pytest

from danet_calibration.errors import CalibrationError
from danet_calibration.int8.ranges.scales import QuantisedInput, with_trained_scales

INPUTS = [
    QuantisedInput("conv", 0, np.float32(0.5) * np.ones((), np.float32)),
    QuantisedInput("conv", 1, np.ones(3, np.float32)),
    QuantisedInput("add", 1, np.asarray(0.25, np.float32)),
]


def test_activations_get_the_trained_scales_and_weights_keep_theirs():
    replaced = with_trained_scales(INPUTS, {("conv", 0): 0.1, ("add", 1): 0.2})
    assert [(item.node, item.position) for item in replaced] == [("conv", 0), ("conv", 1), ("add", 1)]
    assert [item.scale.tolist() for item in replaced] == [np.float32(0.1), [1, 1, 1], np.float32(0.2)]
    assert all(item.scale.dtype == np.float32 for item in replaced)
    assert [float(item.scale.max()) for item in INPUTS] == [0.5, 1.0, 0.25]


def test_missing_and_unknown_names_are_listed_first_ones_only():
    unknown = {(f"node_{index}", 0): 1.0 for index in range(5)}
    message = r"1 missing \(add\[1\]\), 5 unknown \(node_0\[0\], node_1\[0\], node_2\[0\], \.\.\.\)"
    with pytest.raises(CalibrationError, match=message):
        with_trained_scales(INPUTS, {("conv", 0): 0.1, **unknown})
    with pytest.raises(CalibrationError, match=r"2 missing .*, none unknown"):
        with_trained_scales(INPUTS, {})


def test_a_scale_for_a_weight_is_unknown():
    with pytest.raises(CalibrationError, match=r"none missing, 1 unknown \(conv\[1\]\)"):
        with_trained_scales(INPUTS, {("conv", 0): 0.1, ("add", 1): 0.2, ("conv", 1): 0.3})


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_not_a_positive_number_is_refused(wrong):
    with pytest.raises(CalibrationError, match="input 1 of add"):
        with_trained_scales(INPUTS, {("conv", 0): 0.1, ("add", 1): wrong})
