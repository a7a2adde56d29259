"""Partial sums of X X^T in the interpreter against float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danet_export.kernels import channel_energy as kernel
from danet_export.kernels.architectures import ARCHITECTURES
from danet_export.ops import channel_energy
from danet_export.ops.execution import launch
from danet_runtime.bundle.operators import OPERATORS


def run(x, slices, architecture="sm_87", variant="small"):
    batch, channels, tokens = x.shape
    sizes = OPERATORS["ChannelEnergy"].sizes([(batch, channels, 1, tokens)], {"slices": slices})
    spec = kernel.specify(sizes, ARCHITECTURES[architecture], variant)
    output = torch.full((batch, slices, channels, channels), float("nan"))
    launch(spec, x, output)
    return output.numpy()


def error(x, slices, got):
    features = {"x": x.double().numpy()[:, :, None, :]}
    expected = channel_energy.reference(features, {"slices": slices})
    return np.linalg.norm(got - expected) / np.linalg.norm(expected)


SHAPES = given(
    st.integers(1, 2),
    st.integers(1, 150),
    st.integers(1, 300),
    st.integers(1, 4),
    st.sampled_from([torch.float16, torch.bfloat16]),
    st.sampled_from(["tuned", "small"]),
    st.integers(0, 99),
)


def check(batch, channels, tokens, slices, dtype, variant, seed):
    x = torch.from_numpy(np.random.default_rng(seed).normal(0, 1, (batch, channels, tokens))).to(dtype)
    assert error(x, slices, run(x, slices, variant=variant)) < 1e-5


test_any_shape_and_number_of_slices = settings(max_examples=6, deadline=None)(SHAPES(check))
test_many_times_any_shape_and_number_of_slices = pytest.mark.slow(
    settings(max_examples=60, deadline=None)(SHAPES(check))
)


@pytest.mark.parametrize("variant", ["tuned", "small"])
def test_every_tile_above_the_diagonal_has_its_mirror_image(variant):
    x = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (1, 400, 64))).half()
    got = run(x, 1, variant=variant)
    # Those on the diagonal are computed whole: NumPy's product of X and X^T need not round symmetrically.
    sizes = {"batch": 1, "channels": 400, "tokens": 64, "slices": 1}
    block = kernel.specify(sizes, ARCHITECTURES["sm_87"], variant).constants["BLOCK_C"]
    tile = np.arange(400) // block
    mirrored = tile[:, None] != tile
    assert mirrored.any()
    assert np.array_equal(got[..., mirrored], got.transpose(0, 1, 3, 2)[..., mirrored])
    assert error(x, 1, got) < 1e-6


def test_energies_beyond_fp16_stay_finite():
    x = torch.full((1, 16, 200), 100.0, dtype=torch.float16)
    assert np.array_equal(run(x, 1), np.full((1, 1, 16, 16), 2e6, np.float32))
