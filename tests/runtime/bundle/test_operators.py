"""The contract of the custom operators fits together."""

from typing import get_args

import numpy as np
import pytest

from danet_runtime.bundle.operators import (
    NAMESPACE,
    OPERATORS,
    Operator,
    energy_slices,
    output_shape,
    padded_tokens,
    slice_length,
    spec_of,
)
from danet_runtime.errors import BackendError


def test_every_operator_has_a_contract():
    assert tuple(OPERATORS) == get_args(Operator)
    assert [spec.stem for spec in OPERATORS.values()] == [
        "position_attention",
        "channel_energy",
        "upsample_argmax",
    ]


@pytest.mark.parametrize("name", OPERATORS)
def test_golden_cases_have_the_inputs_attributes_and_output_of_their_operator(name):
    spec = OPERATORS[name]
    assert spec.golden
    for case in spec.golden:
        assert tuple(case.inputs) == spec.inputs
        assert tuple(case.attributes) == spec.attributes
        shapes = [np.shape(values) for values in case.inputs.values()]
        assert output_shape(spec, shapes, case.attributes) == np.shape(case.output)
        assert all(isinstance(size, int) for size in spec.sizes(shapes, case.attributes).values())
        for values in case.inputs.values():
            assert np.array_equal(np.array(values, np.float16), np.array(values)), "FP16 holds them exactly"


@pytest.mark.parametrize(
    ("tokens", "row"), [(1, 128), (8, 8), (127, 128), (2700, 2816), (9409, 9472), (32768, 32768)]
)
def test_rows_are_padded_where_they_would_not_begin_at_words_of_16_bytes(tokens, row):
    assert padded_tokens(tokens) == row


def test_rows_longer_than_the_result_are_padded_and_shorter_ones_refused():
    sizes = OPERATORS["PositionAttention"].sizes
    narrow, wide, x = (2, 4, 1, 128), (2, 6, 1, 128), (2, 6, 3, 5)
    expected = {"batch": 2, "tokens": 15, "d_qk": 4, "d_v": 6}
    assert sizes([narrow, narrow, wide, x], {}) == {**expected, "pitch": 128}
    assert sizes([(2, 4, 3, 5), (2, 4, 3, 5), x, x], {}) == expected
    for shapes in (
        [(2, 4, 1, 14), (2, 4, 1, 14), (2, 6, 1, 14), x],
        [(2, 4, 5, 3), (2, 4, 5, 3), (2, 6, 5, 3), x],
        [narrow, narrow, (2, 6, 1, 256), x],
        [narrow, narrow, (2, 7, 1, 128), x],
    ):
        with pytest.raises(BackendError, match="or q, k and v with more positions than x"):
            sizes(shapes, {})


def test_an_error_is_a_share_of_labels_or_relative_to_the_truth():
    assert OPERATORS["UpsampleArgmax"].error([1, 2, 3, 4], [1, 2, 3, 5]) == 0.25
    assert OPERATORS["ChannelEnergy"].error([3.0, 4.4], [3.0, 4.0]) == pytest.approx(0.08)
    assert not OPERATORS["ChannelEnergy"].error([np.nan], [1.0]) <= 1.0


def test_a_node_carries_what_a_plugin_is_found_by():
    attributes = OPERATORS["ChannelEnergy"].node_attributes({"slices": 4, "other": 1})
    assert attributes == {"plugin_namespace": "danet", "plugin_version": "1", "slices": 4}


def test_a_node_of_another_domain_or_version_is_no_operator():
    assert spec_of(NAMESPACE, "ChannelEnergy") is OPERATORS["ChannelEnergy"]
    assert spec_of("", "ChannelEnergy") is None
    assert spec_of(NAMESPACE, "Unheard") is None


@pytest.mark.parametrize(("tokens", "slices"), [(1, 1), (511, 1), (8192, 16), (9409, 16), (32768, 16)])
def test_slices_are_as_many_as_512_positions_allow(tokens, slices):
    assert energy_slices(tokens) == slices
    assert slice_length(tokens, slices) * slices >= tokens
