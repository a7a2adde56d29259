"""Counts of magnitudes in bounded memory, and the ranges that NVIDIA's calibrators find in them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from danet_calibration.int8.ranges.histograms import BINS, LARGEST, MagnitudeHistogram

METHODS = ("max", "entropy", "percentile", "mse")


def histogram(*batches):
    held = MagnitudeHistogram()
    for batch in batches:
        held.add(np.asarray(batch, np.float32))
    return held


@pytest.fixture(scope="module")
def modelopt():
    """The module of modelopt's own calibrator; its import warns of torch's deprecations."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from modelopt.torch.quantization.calib import histogram
    return histogram


@pytest.fixture(scope="module")
def normal():
    """Activations after a ReLU: half of them zeros, a long tail."""
    return np.maximum(np.random.default_rng(0).standard_normal(200_000), 0).astype(np.float32)


magnitudes = st.floats(-1e6, 1e6, width=32).filter(lambda x: x == 0 or abs(x) > 1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(hnp.arrays(np.float32, st.integers(1, 40), elements=magnitudes), min_size=1, max_size=6))
def test_every_value_is_counted_in_its_bin_whatever_came_first(batches):
    held = histogram(*batches)
    values = np.abs(np.concatenate(batches)).astype(np.float64)
    assert held.counts.sum() == values.size
    assert held.maximum == values.max()
    assert held.counts.size <= BINS
    if held.maximum:
        assert BINS / 2 <= np.ceil(held.maximum / held.width) <= held.counts.size
    edges = np.arange(1, held.counts.size + 1) * held.width
    below = np.cumsum(held.counts)
    slack = held.width * 1e-2 + 1e-300
    assert (below >= [(values < edge - slack).sum() for edge in edges]).all()
    assert (below[:-1] <= [(values < edge + slack).sum() for edge in edges[:-1]]).all()


def test_more_values_a_bin_than_float32_can_count_are_counted():
    zeros = np.zeros(2**24 + 5, np.float32)
    zeros[0] = 1.0
    held = histogram(zeros, zeros)
    assert held.counts[0] == 2 * (2**24 + 4)


def test_a_first_frame_of_zeros_or_of_tiny_values_costs_no_bins():
    for first in (0.0, 1e-30, 1e-4):
        held = histogram([first] * 10, [1000.0, 1.0])
        assert held.counts.size <= BINS
        assert held.counts.sum() == 12
        assert held.maximum == 1000.0
        assert held.counts[-1] == 1


@pytest.mark.parametrize("method", METHODS)
def test_only_zeros_have_the_range_0(method):
    assert histogram(np.zeros(5), np.zeros(3)).amax(method) == 0.0


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, LARGEST * 2])
def test_values_that_are_not_finite_or_too_large_are_refused_and_nothing_is_counted(wrong):
    held = histogram([1.0, 2.0])
    with pytest.raises(ValueError, match="expected magnitudes up to"):
        held.add(np.array([1.0, wrong], np.float32))
    assert held.counts.sum() == 2
    assert held.maximum == 2.0


def test_a_copy_stays_as_it_was():
    held = histogram([1.0, 2.0])
    copy = held.copy()
    held.add(np.full(4, 64.0, np.float32))
    assert (copy.maximum, copy.counts.sum(), copy.width) == (2.0, 2, 2.0 / BINS)


@pytest.mark.slow
@pytest.mark.parametrize("method", [pytest.param("entropy", marks=pytest.mark.slow), "percentile", "mse"])
def test_no_method_exceeds_the_largest_magnitude_or_forgets_the_sign(method, normal):
    held = histogram(normal, -2 * normal)
    amax = held.amax(method)
    assert 0.5 * held.maximum < amax <= held.maximum


@pytest.mark.slow
@pytest.mark.parametrize(("method", "tolerance"), [("percentile", 1e-6), ("entropy", 1 / 100)])
def test_ranges_are_those_of_modelopts_own_collector(modelopt, normal, method, tolerance):
    frames = [normal, normal[: normal.size // 2] * 0.5, normal * 0.9]
    calibrator = modelopt.HistogramCalibrator(num_bits=8)
    for frame in frames:
        calibrator.collect(torch.from_numpy(frame))
    expected = float(calibrator.compute_amax(method, **({"stride": 8} if method == "entropy" else {})))
    amax = histogram(*frames).amax(method)
    assert amax < normal.max()
    assert amax == pytest.approx(expected, rel=tolerance)


def test_asking_for_entropy_does_not_change_the_other_ranges(normal):
    held = histogram(normal)
    before = held.amax("percentile")
    held.amax("entropy")
    assert held.amax("percentile") == before
    assert held.counts.sum() == normal.size


@pytest.mark.slow
def test_mse_is_what_modelopt_means_and_not_what_it_computes(modelopt, monkeypatch, normal):
    held = histogram(normal)
    edges = np.arange(held.counts.size + 1) * held.width
    arguments = (held.counts, edges, 8, False)
    # modelopt 0.47: the number of bits arrives as a bias. If this fails, it has been mended: use it then.
    assert float(modelopt._compute_amax_mse(*arguments)) < 0.5
    right = modelopt.fake_tensor_quant
    monkeypatch.setattr(
        modelopt,
        "fake_tensor_quant",
        lambda inputs, amax, bits, unsigned: right(inputs, amax, None, bits, unsigned),
    )
    expected = float(modelopt._compute_amax_mse(*arguments, stride=1, start_bin=128))
    assert held.amax("mse") == pytest.approx(expected, rel=2e-3)
    assert 3.0 < held.amax("mse") < normal.max()
