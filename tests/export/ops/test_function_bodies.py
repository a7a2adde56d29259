"""The function bodies of the custom operators against float64."""

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danet_export.errors import ParityError
from danet_export.ops import channel_energy, position_attention, upsample_argmax
from danet_export.ops.catalogue import code_of
from danet_export.ops.exact import channel_attention, softmax
from danet_export.ops.operator_parity import compare_operators, run_body
from danet_runtime.bundle import Bundle
from danet_runtime.bundle.operators import OPERATORS, PLUGIN_ATTRIBUTES, energy_slices, slice_length


def run_operator(operator, inputs, attributes):
    body = code_of(operator).body(attributes)
    return run_body(body, inputs, OPERATORS[operator].node_attributes(attributes), "fp32")


def relative_error(got, expected):
    return np.linalg.norm(got - expected) / np.linalg.norm(expected)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 2),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 24),
    st.integers(1, 24),
    st.integers(0, 99),
)
def test_position_attention_equals_the_paper_for_any_shape(batch, h, w, d_qk, d_v, seed):
    random = np.random.default_rng(seed)
    q, k = random.normal(0, 30, (2, batch, d_qk, h, w)).astype(np.float32)
    v, x = random.normal(0, 1, (2, batch, d_v, h, w)).astype(np.float32)
    inputs = {"q": q, "k": k, "v": v, "x": x}
    got = run_operator("PositionAttention", inputs, {})
    assert relative_error(got, position_attention.reference(inputs, {})) < 1e-4


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 2),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 24),
    st.integers(1, 5),
    st.integers(0, 99),
)
def test_channel_energy_equals_its_slices_for_any_shape(batch, h, w, channels, slices, seed):
    x = np.random.default_rng(seed).normal(0, 1, (batch, channels, h, w)).astype(np.float32)
    got = run_operator("ChannelEnergy", {"x": x}, {"slices": slices})
    assert relative_error(got, channel_energy.reference({"x": x}, {"slices": slices})) < 1e-5
    flat = x.reshape(batch, channels, -1).astype(np.float64)
    assert relative_error(got.sum(1), flat @ flat.transpose(0, 2, 1)) < 1e-5


def test_energies_added_up_and_applied_are_the_papers_channel_attention():
    x = np.random.default_rng(0).normal(0, 1, (1, 12, 9, 11)).astype(np.float32)
    energy = run_operator("ChannelEnergy", {"x": x}, {"slices": 3})
    applied = softmax(-energy.sum(1)) @ x.reshape(1, 12, -1)
    got = 0.5 * applied.reshape(x.shape) + x
    assert relative_error(got, channel_attention(x, 0.5)) < 1e-5


@given(st.integers(1, 100_000))
def test_slices_cover_all_positions_and_none_is_empty(tokens):
    slices = energy_slices(tokens)
    length = slice_length(tokens, slices)
    assert 1 <= slices <= 16
    assert length % 16 == 0
    assert (slices - 1) * length < tokens <= slices * length


def test_channel_energies_beyond_fp16_stay_finite_in_the_fp16_body():
    x = np.random.default_rng(0).normal(0, 40, (1, 8, 8, 16)).astype(np.float16)
    expected = channel_energy.reference({"x": x}, {"slices": 1})
    assert expected.max() > 65504
    got = run_operator("ChannelEnergy", {"x": x}, {"slices": 1})
    assert relative_error(got, expected) < 1e-6


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 20),
    st.integers(1, 70),
    st.integers(1, 70),
    st.booleans(),
)
def test_upsample_argmax_equals_its_reference_for_any_size(h, w, classes, height, width, align_corners):
    logits = np.random.default_rng(0).normal(0, 4, (1, classes, h, w)).astype(np.float32)
    attributes = {"height": height, "width": width, "align_corners": int(align_corners)}
    got = run_operator("UpsampleArgmax", {"logits": logits}, attributes)
    expected = upsample_argmax.reference({"logits": logits}, attributes)
    assert (got == expected).mean() > 0.995


def test_ties_go_to_the_lowest_class():
    attributes = {"height": 8, "width": 8, "align_corners": 0}
    got = run_operator("UpsampleArgmax", {"x": np.ones((1, 5, 2, 2), np.float32)}, attributes)
    assert not got.any()


@pytest.mark.parametrize("align_corners", [False, True])
def test_the_upsampling_reference_is_torchs(align_corners):
    logits = np.random.default_rng(1).normal(size=(1, 7, 5, 9))
    scores = torch.nn.functional.interpolate(
        torch.from_numpy(logits), (33, 57), mode="bilinear", align_corners=align_corners
    )
    attributes = {"height": 33, "width": 57, "align_corners": align_corners}
    assert np.array_equal(
        upsample_argmax.reference({"logits": logits}, attributes), scores.argmax(1).double()
    )


def test_energies_beyond_fp16_stay_finite_where_fp16_is_really_fp16():
    random = np.random.default_rng(0)
    q, k = random.normal(0, 100, (2, 1, 64, 4, 5)).astype(np.float16)
    v, x = random.normal(0, 1, (2, 1, 8, 4, 5)).astype(np.float16)
    energy = np.einsum("bdij,bdkl->bijkl", q.astype(np.float64), k.astype(np.float64))
    assert np.abs(energy).max() > 65504
    body = position_attention.body({})
    inputs = {"q": q, "k": k, "v": v, "x": x}
    got = run_body(body, inputs, PLUGIN_ATTRIBUTES, "fp16")
    assert relative_error(got, position_attention.reference(inputs, {})) < 2e-3
    for node in body.node:
        if node.op_type == "Cast":
            node.op_type = "Identity"
            del node.attribute[:]
    assert not np.isfinite(run_body(body, inputs, PLUGIN_ATTRIBUTES, "fp16")).all()


@pytest.fixture(scope="module")
def exported(exported_bundle):
    """The files of a bundle, by precision."""
    bundle = Bundle.open(exported_bundle)
    return {name: bundle.read(bundle.variant(name).file) for name in ("fp32", "fp16")}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_operator_of_an_exported_file_passes_alone(exported, precision):
    results = compare_operators(precision, onnx.load_from_string(exported[precision]))
    assert {result.operator for result in results} == set(OPERATORS)
    (attention,) = [result for result in results if result.operator == "PositionAttention"]
    assert [shape[1] for shape in attention.input_shapes] == [8, 8, 32, 32], "channels are the network's own"


@pytest.mark.parametrize(
    ("operator", "node_type", "other", "precision"),
    [
        ("PositionAttention", "Cast", "Identity", "fp16"),
        ("PositionAttention", "Add", "Sub", "fp32"),
        ("ChannelEnergy", "Cast", "Identity", "fp16"),
        ("UpsampleArgmax", "ArgMax", "ArgMin", "fp32"),
    ],
)
def test_a_wrong_body_in_the_file_fails_the_comparison(exported, operator, node_type, other, precision):
    model = onnx.load_from_string(exported[precision])
    body = next(body for body in model.functions if body.name == operator)
    for node in body.node:
        if node.op_type == node_type:
            node.op_type = other
            if other == "Identity":
                del node.attribute[:]
    with pytest.raises(ParityError, match=f"{operator} in {precision}"):
        compare_operators(precision, model)


def test_inner_names_are_unique_over_all_bodies():
    bodies = [code_of(name).body({"align_corners": 0}) for name in OPERATORS]
    names = [name for body in bodies for node in body.node for name in node.output]
    inputs = [name for body in bodies for name in body.input]
    assert len(set(names + inputs)) == len(names + inputs)
    assert all(name.startswith("danet_") for name in names + inputs)


def test_the_energies_that_a_contract_names_are_made_by_the_body():
    for spec in OPERATORS.values():
        if spec.energies and spec.energies.tensor:
            made = {name for node in code_of(spec.name).body({}).node for name in node.output}
            assert spec.energies.tensor in made
    assert [name for name, spec in OPERATORS.items() if spec.energies] == [
        "PositionAttention",
        "ChannelEnergy",
    ]
