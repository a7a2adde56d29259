"""The function bodies of the custom operators against float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danet_export import attention_ops as ops
from danet_export import parity, reference_ops
from danet_export.errors import ParityError


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
    got = parity.run_operator(
        ops.POSITION_ATTENTION, {"q": q, "k": k, "v": v, "x": x}, ops.PLUGIN_ATTRIBUTES, False
    )
    assert relative_error(got, reference_ops.position_attention(q, k, v, x)) < 1e-4


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
    attributes = {**ops.PLUGIN_ATTRIBUTES, "slices": slices}
    got = parity.run_operator(ops.CHANNEL_ENERGY, {"x": x}, attributes, False)
    assert relative_error(got, reference_ops.channel_energy(x, slices)) < 1e-5
    flat = x.reshape(batch, channels, -1).astype(np.float64)
    assert relative_error(got.sum(1), flat @ flat.transpose(0, 2, 1)) < 1e-5


def test_energies_added_up_and_applied_are_the_papers_channel_attention():
    x = np.random.default_rng(0).normal(0, 1, (1, 12, 9, 11)).astype(np.float32)
    energy = parity.run_operator(ops.CHANNEL_ENERGY, {"x": x}, {**ops.PLUGIN_ATTRIBUTES, "slices": 3}, False)
    applied = reference_ops.softmax(-energy.sum(1)) @ x.reshape(1, 12, -1)
    got = 0.5 * applied.reshape(x.shape) + x
    assert relative_error(got, reference_ops.channel_attention(x, 0.5)) < 1e-5


@given(st.integers(1, 100_000))
def test_slices_cover_all_positions_and_none_is_empty(tokens):
    slices = ops.energy_slices(tokens)
    length = ops.slice_length(tokens, slices)
    assert 1 <= slices <= 16
    assert length % 16 == 0
    assert (slices - 1) * length < tokens <= slices * length


def test_channel_energies_beyond_fp16_stay_finite_in_the_fp16_body():
    x = np.random.default_rng(0).normal(0, 40, (1, 8, 8, 16)).astype(np.float16)
    expected = reference_ops.channel_energy(x, 1)
    assert expected.max() > 65504
    got = parity.run_operator(ops.CHANNEL_ENERGY, {"x": x}, {**ops.PLUGIN_ATTRIBUTES, "slices": 1}, False)
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
    attributes = ops.upsample_argmax_attributes((height, width), align_corners)
    got = parity.run_operator(ops.UPSAMPLE_ARGMAX, {"logits": logits}, attributes, align_corners)
    expected = reference_ops.upsample_argmax(logits, (height, width), align_corners)
    assert (got == expected).mean() > 0.995


def test_ties_go_to_the_lowest_class():
    attributes = ops.upsample_argmax_attributes((8, 8), False)
    got = parity.run_operator(
        ops.UPSAMPLE_ARGMAX, {"x": np.ones((1, 5, 2, 2), np.float32)}, attributes, False
    )
    assert not got.any()


@pytest.mark.parametrize("align_corners", [False, True])
def test_the_upsampling_reference_is_torchs(align_corners):
    logits = np.random.default_rng(1).normal(size=(1, 7, 5, 9))
    scores = torch.nn.functional.interpolate(
        torch.from_numpy(logits), (33, 57), mode="bilinear", align_corners=align_corners
    )
    assert np.array_equal(
        reference_ops.upsample_argmax(logits, (33, 57), align_corners), scores.argmax(1).double()
    )


def test_energies_beyond_fp16_stay_finite_in_the_fp16_body():
    random = np.random.default_rng(0)
    q, k = random.normal(0, 100, (2, 1, 64, 4, 5)).astype(np.float16)
    v, x = random.normal(0, 1, (2, 1, 8, 4, 5)).astype(np.float16)
    energy = np.einsum("bdij,bdkl->bijkl", q.astype(np.float64), k.astype(np.float64))
    assert np.abs(energy).max() > 65504
    got = parity.run_operator(
        ops.POSITION_ATTENTION, {"q": q, "k": k, "v": v, "x": x}, ops.PLUGIN_ATTRIBUTES, False
    )
    assert relative_error(got, reference_ops.position_attention(q, k, v, x)) < 2e-3


def test_every_operator_passes_alone():
    for align_corners in (False, True):
        names = {result.operator for result in parity.compare_operators(align_corners)}
        assert names == {ops.POSITION_ATTENTION, ops.CHANNEL_ENERGY, ops.UPSAMPLE_ARGMAX}


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (
            "danet_ce_y = MatMul (danet_ce_left, danet_ce_right)",
            "danet_ce_e = MatMul (danet_ce_left, danet_ce_right)\n  danet_ce_y = Neg (danet_ce_e)",
        ),
        ("Softmax <axis = 2> (danet_pa_energy)", "Softmax <axis = 1> (danet_pa_energy)"),
        ("Add (danet_pa_context, danet_pa_x)", "Identity (danet_pa_context)"),
    ],
)
def test_a_wrong_body_fails_the_comparison(monkeypatch, wrong, right):
    for name in ("_POSITION_ATTENTION_BODY", "_CHANNEL_ENERGY_BODY"):
        monkeypatch.setattr(ops, name, getattr(ops, name).replace(wrong, right))
    with pytest.raises(ParityError, match="against float64"):
        parity.compare_operators(False)


def test_inner_names_are_unique_over_all_bodies():
    names = [name for body in ops.function_bodies(False) for node in body.node for name in node.output]
    inputs = [name for body in ops.function_bodies(False) for name in body.input]
    assert len(set(names + inputs)) == len(names + inputs)
    assert all(name.startswith("danet_") for name in names + inputs)
