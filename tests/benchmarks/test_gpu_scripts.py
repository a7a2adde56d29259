"""The GPU benchmarks as far as they run without one: references, the skip, the checks and the file's name."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from danet_export import reference_ops
from danet_export.kernels import torch_ops

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu"

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))

    def load_script(name):
        spec = importlib.util.spec_from_file_location(f"gpu_{name}", FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load_script


def test_all_stock_ways_of_the_attention_compute_the_reference(load):
    attention = load("attention")
    torch.manual_seed(0)
    inputs = attention.draw(130, torch.float32, "cpu")
    expected = attention.reference(*inputs)
    assert np.allclose(expected.numpy(), reference_ops.position_attention(*(part.numpy() for part in inputs)))
    for got in (attention.eager(*inputs), attention.fused(*inputs, 1), attention.fused(*inputs, 8)):
        assert ((got.double() - expected).norm() / expected.norm()).item() < 1e-5


def test_the_bundles_kernels_for_a_gpu_are_found_or_made(load, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernels = load("attention").find_kernels(8192, "fp16", "sm_90", None)
    assert [kernel.variant for kernel, _ in kernels] == ["tuned", "small"]
    assert all(b".visible .entry position_attention(" in ptx for _, ptx in kernels)


def test_a_wrong_result_or_memory_beyond_the_output_is_named(load):
    attention = load("attention")
    row = {"tokens": 8192, "candidate": "triton", "relative_error": 1e-3, "memory_beyond_output_bytes": 0}
    assert attention.problems([row], "fp16") == []
    assert "relative error" in attention.problems([{**row, "relative_error": float("nan")}], "fp16")[0]
    assert "64 bytes" in attention.problems([{**row, "memory_beyond_output_bytes": 64}], "fp16")[0]
    assert attention.problems([{**row, "candidate": "eager", "relative_error": 1.0}], "fp16") == []


def test_the_forms_of_the_channel_map_are_softmax_of_minus_energy(load):
    channel = load("channel_energy")
    x = torch.randn(1, 16, 1, 40).mul(0.1)
    energy = reference_ops.channel_energy(x.numpy(), 2).sum(1)
    expected = reference_ops.softmax(-energy)
    assert np.allclose(channel.matmul_map(x).numpy(), expected, atol=1e-6)


def test_results_go_into_a_file_named_after_the_gpu(load):
    assert load("measurement").gpu_file("NVIDIA H200 (SXM)").name == "nvidia-h200-sxm.json"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: `make gpu` runs them")
@pytest.mark.parametrize("script", ["attention.py", "channel_energy.py", "network.py", "rtx.py"])
def test_without_a_gpu_the_script_says_so_and_measures_nothing(script):
    done = subprocess.run([sys.executable, str(FOLDER / script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no CUDA GPU" in done.stdout


def test_the_network_with_the_kernels_gives_the_eager_networks_labels(load):
    network_script = load("network")
    torch.manual_seed(0)
    network = network_script.build_model(
        18, base_channels=8, stem_channels=8, head_channels=32, attention_channels=16, aux_channels=0
    ).eval()
    torch.nn.init.normal_(network.decode_head.conv_seg.weight, std=0.5)
    with torch.no_grad():
        network.decode_head.pam.gamma.scale.fill_(1)
        network.decode_head.cam.gamma.scale.fill_(1)
    network, image = network.half(), torch.randn(1, 3, 64, 128).half()
    with torch.inference_mode(), torch_ops.plain_ops():
        expected = network_script.Eager(network)(image)
        labels = network_script.Fused(network)(image)
    assert (labels == expected).float().mean() > network_script.AGREEMENT
    assert len(expected.unique()) > 2
