"""softmax(Q^T K) V + x in the interpreter against float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danet_export.kernels import position_attention as kernel
from danet_export.kernels.architectures import ARCHITECTURES
from danet_export.ops import position_attention
from danet_export.ops.execution import launch

TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 1.2e-2}


def draw(shape, scale, dtype, seed):
    values = np.random.default_rng(seed).normal(0, scale, shape)
    return torch.from_numpy(values).to(dtype)


def run(q, k, v, x, architecture="sm_87", variant="small"):
    batch, d_qk, tokens = q.shape
    sizes = {"batch": batch, "tokens": tokens, "d_qk": d_qk, "d_v": v.shape[1]}
    spec = kernel.specify(sizes, ARCHITECTURES[architecture], variant)
    output = torch.full_like(v, float("nan"))
    launch(spec, q, k, v, x, output)
    return output


def error(q, k, v, x, got):
    arrays = {n: part.double().numpy()[:, :, None, :] for n, part in zip("qkvx", (q, k, v, x), strict=True)}
    expected = position_attention.reference(arrays, {})[:, :, 0, :]
    return np.linalg.norm(got.double().numpy() - expected) / np.linalg.norm(expected)


SHAPES = given(
    st.tuples(st.integers(1, 2), st.integers(1, 150), st.integers(1, 40), st.integers(1, 70)),
    st.sampled_from([0.3, 3.0, 40.0]),
    st.sampled_from([torch.float16, torch.bfloat16]),
    st.sampled_from([("sm_87", "small"), ("sm_100", "tuned"), ("sm_75", "tuned")]),
    st.integers(0, 99),
)


def check(shape, scale, dtype, target, seed):
    batch, tokens, d_qk, d_v = shape
    q, k = (draw((batch, d_qk, tokens), scale, dtype, seed + i) for i in (0, 1))
    v, x = (draw((batch, d_v, tokens), 1.0, dtype, seed + i) for i in (2, 3))
    assert error(q, k, v, x, run(q, k, v, x, *target)) < TOLERANCE[dtype]


test_any_shape_tail_and_batch = settings(max_examples=6, deadline=None)(SHAPES(check))
test_many_times_any_shape_tail_and_batch = pytest.mark.slow(
    settings(max_examples=80, deadline=None)(SHAPES(check))
)


@pytest.mark.parametrize(
    ("d_qk", "tokens", "target"), [(300, 75, ("sm_87", "small")), (256, 64, ("sm_75", "tuned"))]
)
def test_queries_too_wide_to_hold_are_read_in_chunks(d_qk, tokens, target):
    sizes = {"batch": 1, "tokens": tokens, "d_qk": d_qk, "d_v": 32}
    spec = kernel.specify(sizes, ARCHITECTURES[target[0]], target[1])
    assert spec.constants["BLOCK_QK"] < d_qk
    q, k = (draw((2, d_qk, tokens), 1.0, torch.float16, i) for i in (0, 1))
    v, x = (draw((2, 32, tokens), 1.0, torch.float16, i) for i in (2, 3))
    assert error(q, k, v, x, run(q, k, v, x, *target)) < 2e-3


@pytest.mark.slow
@pytest.mark.parametrize("target", [("sm_87", "small"), ("sm_87", "tuned"), ("sm_100", "tuned")])
@pytest.mark.parametrize("tokens", [256, 333])
def test_the_networks_own_widths(tokens, target):
    q, k = (draw((1, 64, tokens), 1.0, torch.float16, i) for i in (0, 1))
    v, x = (draw((1, 512, tokens), 1.0, torch.float16, i) for i in (2, 3))
    assert error(q, k, v, x, run(q, k, v, x, *target)) < 2e-3


@pytest.mark.parametrize("tokens", [64, 97])
def test_energies_beyond_fp16_are_exact_selections(tokens):
    q, k = (draw((1, 64, tokens), 100.0, torch.float16, i) for i in (0, 1))
    v, x = (draw((1, 32, tokens), 1.0, torch.float16, i) for i in (2, 3))
    assert (q.double()[0].T @ k.double()[0]).abs().max() > 65504
    assert error(q, k, v, x, run(q, k, v, x)) < 2e-3


@pytest.mark.parametrize("energy", [0.0, -90000.0, 90000.0])
def test_equal_energies_give_the_mean(energy):
    tokens, side = 75, 300.0
    q = torch.full((1, 1, tokens), side, dtype=torch.float16)
    k = torch.full((1, 1, tokens), energy / side, dtype=torch.float16)
    v, x = (draw((1, 16, tokens), 1.0, torch.float16, i) for i in (2, 3))
    expected = v.double().mean(2, keepdim=True) + x.double()
    got = run(q, k, v, x)
    assert ((got.double() - expected).norm() / expected.norm()).item() < 1e-3


def test_one_position_attends_to_itself():
    q, k, v, x = (draw((1, 4, 1), 1.0, torch.float16, i) for i in range(4))
    assert torch.equal(run(q, k, v, x), (v.float() + x.float()).half())
