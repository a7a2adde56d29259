"""The checks of our kernels: references, judgements, and what is launched."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from danet_export.ops import channel_energy, position_attention
from danet_export.ops.exact import softmax
from danet_export.ops.execution import plain_ops

triton = pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")


def test_all_stock_ways_of_the_attention_compute_the_reference(load):
    cases, stock = load("cases"), load("stock_attention")
    torch.manual_seed(0)
    inputs = cases.draw_attention(130, torch.float32)
    expected = cases.attention_reference(*inputs)
    arrays = dict(zip("qkvx", (part.numpy() for part in inputs), strict=True))
    assert np.allclose(expected.numpy(), position_attention.reference(arrays, {}))
    for got in (stock.eager(*inputs), stock.fused(*inputs, 1), stock.fused(*inputs, 8)):
        assert ((got.double() - expected).norm() / expected.norm()).item() < 1e-5


def test_our_attention_is_given_rows_as_the_graph_makes_them(load):
    cases = load("cases")
    inputs = cases.draw_attention(130, torch.float16)
    query, key, value, residual = cases.padded(inputs)
    assert [part.shape[-1] for part in (query, key, value, residual)] == [256, 256, 256, 130]
    for drawn, row in zip(inputs, (query, key, value), strict=False):
        assert torch.equal(row[..., :130], drawn)
        assert row[..., 130:].isnan().all()
    aligned = cases.draw_attention(136, torch.float16)
    assert cases.padded(aligned) is aligned


def test_energies_beyond_fp16_are_drawn_where_they_are_asked_for(load):
    correctness = load("correctness")
    (query, key, *_), _ = load("cases").draw_and_solve(
        "PositionAttention", 304, torch.float16, correctness.LARGE_ENERGIES
    )
    assert (query.flatten(2).double()[0].T @ key.flatten(2).double()[0]).abs().max() > 65504


@pytest.mark.slow
def test_the_bundles_kernels_for_a_gpu_are_found_or_made(load, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    own_kernels = load("own_kernels")
    found = own_kernels.find_kernels(8192, "fp16", "sm_90")
    operators = ("PositionAttention", "ChannelEnergy", "UpsampleArgmax")
    assert set(found.kernels) == {
        (operator, variant) for operator in operators for variant in ("tuned", "small")
    }
    assert b".visible .entry position_attention_warps(" in found.kernels["PositionAttention", "tuned"].ptx
    assert found.triton == triton.__version__
    spec = own_kernels.find_spec("PositionAttention", 8192, "tuned", "sm_90")
    assert found.kernels["PositionAttention", "tuned"].kernel.grid == spec.grid


def test_where_warps_have_roles_the_kernel_in_which_they_have_none_is_measured_beside_it(load):
    own_kernels = load("own_kernels")
    tuned = own_kernels.find_spec("PositionAttention", 32768, "tuned", "sm_90")
    beside = own_kernels.find_spec_in_step(32768, "sm_90")
    assert (tuned.function.__name__, beside.function.__name__) == (
        "position_attention_warps",
        "position_attention",
    )
    assert own_kernels.find_spec_in_step(32768, "sm_87") is None


def test_a_bundles_kernel_is_launched_by_the_runtimes_own_driver(load, monkeypatch):
    own_kernels = load("own_kernels")
    calls = []

    class Driver:
        def load(self, loaded):
            calls.append(("load", loaded))
            return "launchable"

        def launch(self, *arguments):
            calls.append(("launch", *arguments))

    monkeypatch.setattr(own_kernels, "cuda_driver", Driver)
    monkeypatch.setattr(own_kernels, "DEVICE", "cpu")
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=77))
    inputs, output = [torch.zeros(2), torch.zeros(3)], torch.zeros(4)
    assert own_kernels.PtxLauncher("loaded")(inputs, output) is output
    pointers = [part.data_ptr() for part in (*inputs, output)]
    assert calls == [("load", "loaded"), ("launch", "launchable", 77, pointers)]


def test_one_triton_must_give_the_same_bits_and_another_nearly_the_same(load):
    own_kernels = load("own_kernels")
    jit = torch.ones(1000)
    near, far = jit.clone(), jit.clone()
    near[0] += 1e-3
    far[0] += 1.0
    judged = {
        (name, same): own_kernels.difference_problem(own_kernels.differences(ptx, jit), same)
        for name, ptx in {"equal": jit.clone(), "near": near, "far": far}.items()
        for same in (True, False)
    }
    assert judged["equal", True] is judged["equal", False] is judged["near", False] is None
    assert "not bit for bit" in judged["near", True]
    assert "> 1e-03" in judged["far", False]
    assert own_kernels.difference_problem(own_kernels.differences(far * float("nan"), jit), False)


OWN_ROW = {
    **{"tokens": 32768, "candidate": "ptx tuned", "relative_error": 1e-3, "memory_beyond_output_bytes": 0},
    **{"bits_equal_to_jit": True, "difference_from_jit": 0.0, "same_triton": True, "share_of_matmul": 0.7},
}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({}, None),
        ({"relative_error": float("nan")}, "relative error"),
        ({"relative_error": 2.1e-3}, "relative error 2.1e-03 > 2.0e-03"),
        ({"memory_beyond_output_bytes": 64}, "64 bytes"),
        ({"bits_equal_to_jit": False}, "not bit for bit"),
        ({"bits_equal_to_jit": False, "same_triton": False}, None),
        ({"share_of_matmul": 0.59}, "59% of the matmul's rate < 60%"),
        ({"candidate": "eager", "relative_error": 1.0}, None),
    ],
)
def test_what_is_wrong_with_our_attention_is_named(load, change, complaint):
    found = load("attention").problems(
        [{**OWN_ROW, **change}, {**OWN_ROW, "tokens": 8192}], "fp16", "NVIDIA H200"
    )
    assert found == [] if complaint is None else complaint in found[0]


def test_the_share_of_the_matmul_is_demanded_of_an_h200_and_told_elsewhere(load):
    attention = load("attention")
    slow = {**OWN_ROW, "share_of_matmul": 0.3}
    for gpu, required in (("NVIDIA H200", True), ("NVIDIA A10", False)):
        share = attention.targets([slow], "fp16", gpu)["share_of_matmul"]
        assert (share["passed"], share["required"]) == (False, required)
        assert bool(attention.problems([slow], "fp16", gpu)) == required
    bad = {**OWN_ROW, "tokens": 8192, "relative_error": float("nan")}
    assert not attention.targets([OWN_ROW, bad], "fp16", "")["relative_error"]["passed"]


CHECKED_ROW = {
    **{"operator": "ChannelEnergy", "variant": "small", "dtype": "fp16", "tokens": 9409},
    **{"relative_error_jit": 1e-6, "relative_error_ptx": 1e-6},
    **{"bits_equal_to_jit": True, "difference_from_jit": 0.0, "same_triton": True},
}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({}, None),
        ({"relative_error_ptx": float("nan")}, "ChannelEnergy small fp16 at N=9409, ptx: relative error nan"),
        ({"operator": "UpsampleArgmax"}, "> 0.0e+00"),
        ({"bits_equal_to_jit": False}, "not bit for bit"),
    ],
)
def test_a_wrong_kernel_is_named(load, change, complaint):
    found = load("correctness").problems([{**CHECKED_ROW, **change}])
    assert found == [] if complaint is None else complaint in found[0]


def test_the_forms_of_the_channel_map_are_softmax_of_minus_energy(load):
    channel = load("channel_energy")
    x = torch.randn(1, 16, 1, 40).mul(0.1)
    energy = channel_energy.reference({"x": x.numpy()}, {"slices": 2}).sum(1)
    expected = softmax(-energy)
    assert np.allclose(channel.copies_map(x).numpy(), expected, atol=1e-6)
    with plain_ops():
        assert np.allclose(channel.partial_sum_map(x.half()).float().numpy(), expected, atol=1e-3)
