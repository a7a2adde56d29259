"""PAM and CAM against the paper's equations, written as loops over single numbers in float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danet_train.model.attention import ChannelAttention, PositionAttention


def _convolve_1x1(conv, pixel):
    weight = conv.weight.detach().double().numpy()[:, :, 0, 0]
    bias = conv.bias.detach().double().numpy()
    return [sum(weight[o, i] * pixel[i] for i in range(len(pixel))) + bias[o] for o in range(weight.shape[0])]


def _position_attention(module, x):
    """Equations 1 and 2: s_ji = exp(B_i . C_j) / sum_i exp(B_i . C_j), E_j = alpha sum_i s_ji D_i + A_j."""
    channels, height, width = x.shape
    pixels = [x[:, r, c] for r in range(height) for c in range(width)]
    query = [_convolve_1x1(module.query_project, p) for p in pixels]
    key = [_convolve_1x1(module.key_project, p) for p in pixels]
    value = [_convolve_1x1(module.value_project, p) for p in pixels]
    alpha = float(module.gamma.scale.detach())
    out = np.zeros_like(x)
    for j, pixel in enumerate(pixels):
        scores = [
            math.exp(sum(q * k for q, k in zip(query[j], key[i], strict=True))) for i in range(len(pixels))
        ]
        for c in range(channels):
            context = sum(scores[i] * value[i][c] for i in range(len(pixels))) / sum(scores)
            out[c, j // width, j % width] = alpha * context + pixel[c]
    return out


def _channel_attention(module, x):
    """Equations 3 and 4 with the sign that both codebases use: x_ji ~ exp(-A_i . A_j)."""
    channels = x.shape[0]
    rows = x.reshape(channels, -1)
    beta = float(module.gamma.scale.detach())
    out = np.zeros_like(rows)
    for j in range(channels):
        energy = [float(sum(a * b for a, b in zip(rows[i], rows[j], strict=True))) for i in range(channels)]
        scores = [math.exp(min(energy) - e) for e in energy]
        for n in range(rows.shape[1]):
            context = sum(scores[i] * rows[i][n] for i in range(channels)) / sum(scores)
            out[j, n] = beta * context + rows[j][n]
    return out.reshape(x.shape)


@pytest.mark.parametrize("size_hw", [(3, 4), (1, 5), (4, 1)])
def test_position_attention_is_the_papers_equations_1_and_2(size_hw):
    torch.manual_seed(0)
    module = PositionAttention(6, 3).double()
    torch.nn.init.constant_(module.gamma.scale, 0.7)
    x = torch.randn(2, 6, *size_hw, dtype=torch.float64)
    with torch.no_grad():
        got = module(x).numpy()
    for image in range(2):
        np.testing.assert_allclose(got[image], _position_attention(module, x[image].numpy()), rtol=1e-10)


@pytest.mark.parametrize("size_hw", [(3, 4), (2, 5)])
def test_channel_attention_is_the_papers_equations_3_and_4_with_the_published_sign(size_hw):
    torch.manual_seed(1)
    module = ChannelAttention().double()
    torch.nn.init.constant_(module.gamma.scale, -0.4)
    x = torch.randn(2, 5, *size_hw, dtype=torch.float64)
    with torch.no_grad():
        got = module(x).numpy()
    for image in range(2):
        np.testing.assert_allclose(got[image], _channel_attention(module, x[image].numpy()), rtol=1e-10)


@pytest.mark.parametrize("module", [PositionAttention(8, 2), ChannelAttention()])
def test_a_fresh_attention_is_the_identity_since_its_scale_starts_at_zero(module):
    assert module.gamma.scale.shape == ()
    x = torch.randn(1, 8, 5, 7)
    torch.testing.assert_close(module(x), x, rtol=0, atol=0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), height=st.integers(1, 5), width=st.integers(1, 5))
def test_position_attention_follows_any_permutation_of_the_positions(seed, height, width):
    torch.manual_seed(seed)
    module = PositionAttention(4, 2).double()
    torch.nn.init.constant_(module.gamma.scale, 1.0)
    x = torch.randn(1, 4, height, width, dtype=torch.float64)
    order = torch.randperm(height * width)
    permuted = x.flatten(2)[..., order].reshape_as(x)
    with torch.no_grad():
        expected = module(x).flatten(2)[..., order].reshape_as(x)
        torch.testing.assert_close(module(permuted), expected)


def test_channel_attention_stays_finite_where_the_energies_are_huge():
    module = ChannelAttention()
    torch.nn.init.constant_(module.gamma.scale, 1.0)
    assert torch.isfinite(module(torch.randn(1, 6, 32, 32) * 100)).all()
