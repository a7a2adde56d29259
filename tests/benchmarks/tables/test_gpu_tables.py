"""The README's figures of GPUs are those of the results; the scripts' own code writes results it can read."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.tables import gpu

REHEARSAL = Path(__file__).resolve().parents[1] / "gpu" / "rehearsal.py"


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    """The results that all scripts write over a make-believe GPU, and their exit codes."""
    pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")
    folder = tmp_path_factory.mktemp("results")
    done = subprocess.run(
        [sys.executable, str(REHEARSAL)],
        env={**os.environ, "TRITON_INTERPRET": "1", "DANET_GPU_RESULTS": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    codes = json.loads(done.stdout.splitlines()[-1])
    return folder, codes, done.stdout + done.stderr


def test_without_results_it_says_that_nothing_is_measured_yet(tmp_path):
    (tmp_path / "kernel_resources.json").write_text('{"kind": "kernel-resources"}')
    made = gpu.block(tmp_path)
    assert made.startswith("No figures of a GPU are measured yet.")
    for wanted in ("position attention", "CAM", "frames a second", "TensorRT for RTX", "compute-sanitizer"):
        assert wanted.replace(" ", "") in re.sub(r"\s", "", made)


@pytest.mark.slow
@pytest.mark.longest
def test_every_script_runs_to_its_end_and_finds_its_kernels_right(rehearsed):
    _, codes, output = rehearsed
    assert codes == dict.fromkeys(
        ("correctness", "attention", "channel_energy", "network", "executor", "rtx"), 0
    ), output


@pytest.mark.slow
@pytest.mark.longest
def test_the_scripts_own_results_become_tables(rehearsed):
    folder, _, _ = rehearsed
    made = gpu.block(folder)
    assert "**Rehearsed GPU** (sm_90, 1 GiB), PyTorch" in made
    assert "Correctness at N = 64, 81, 128: **passed**" in made
    assert "the kernel as Triton launches it in 30 of 30 cases" in re.sub(r"\s+", " ", made)
    assert "| 128 | **bundle's PTX** | 1.000 (1.000 to 1.000) |" in made
    assert "| 64 | sdpa split V math | 1.000" in made
    assert "| 128 | partial sums | 1.000 (1.000 to 1.000) |" in made
    assert "| 128 | MatMul, FP32 output | did not run |" in made  # PyTorch has it on a GPU alone
    assert re.search(r"\| R-18 64x128 \| kernels, graph \| [0-9.]+ \| 1\.000 .* \| 0\.0 \| (99|100)\.", made)
    assert "R-18 64x128 is to reach 100 fps on an H200, which this is not" in made
    assert "at N = 32768, 60% are asked and 75% aimed at on an H200, which this is not" in made
    assert "compute-sanitizer: not checked." in made
    assert re.search(r"\| R-18 64x128 \| fp16 \| build: exit code 1: ", made)
    document = json.loads(next(folder.glob("*.json")).read_text())
    assert document["position_attention_fp16"]["targets"]["relative_error"]["passed"]
    assert not document["position_attention_fp16"]["targets"]["share_of_matmul"]["required"]
    assert document["network_fp16"]["measurements"][0]["forms"]["kernels, graph"]["peak_memory_bytes"] == 4096


MADE = {"torch": "2.9", "triton": "3.9.0", "cuda": "13.0", "commit": "abc"}
SHARE = {"limit": 0.6, "aim": 0.75, "reached": 0.7, "passed": True, "required": True}
FPS = {"aim": 100, "reached": 90, "passed": False, "of": "R-50 1024x2048", "aimed_gpu": True}


def test_a_verdict_is_given_on_the_gpu_of_the_target_alone():
    targets = gpu.matmul_targets(SHARE)
    assert targets == "at N = 32768, asked: 60%, reached; aimed at: 75%, missed"
    elsewhere = gpu.matmul_targets({**SHARE, "required": False})
    assert "which this is not" in elsewhere
    rows = {"measurements": [], "targets": {"fps": FPS}}
    assert "100 fps on an H200: missed" in gpu.network(rows)
    rows["targets"] = {"fps": {**FPS, "aimed_gpu": False}}
    for text in (elsewhere, gpu.network(rows)):
        assert not re.search("missed|reached", text)


def test_forms_without_room_and_without_a_truth_are_told():
    timing = {"milliseconds": 2.0, "milliseconds_range": [2.0, 2.0]}
    form = {"fps": 500.0, "gpu": timing, "peak_memory_bytes": 2**20, "label_agreement": None}
    forms = {"eager": {"skipped": "out of memory"}, "kernels": form}
    row = {"network": "R-50", "size": "1024x2048", "forms": forms}
    made = gpu.network({"measurements": [row], "targets": {}})
    assert "| R-50 1024x2048 | eager | did not fit |  |  |  |" in made
    assert "| R-50 1024x2048 | kernels | 500.0 | 2.000 (2.000 to 2.000) | 1.0 | not compared |" in made


def test_figures_of_different_runs_are_not_told_as_one():
    one = {"gpu": {}, "first": {"made_with": MADE}, "second": {"made_with": MADE}}
    assert gpu.origins(one) == "PyTorch 2.9, Triton 3.9.0, CUDA 13.0, commit abc"
    two = {**one, "second": {"made_with": {**MADE, "commit": "def"}}}
    origins = gpu.origins(two)
    assert re.search(r"several states: first with .*commit abc; second with .*commit def$", origins)


@pytest.mark.slow
@pytest.mark.longest
def test_a_sanitizers_word_stands_in_the_block(rehearsed):
    folder, _, _ = rehearsed
    document = json.loads(next(folder.glob("*.json")).read_text())
    document["compute_sanitizer"] = {
        "memcheck": {"verdict": "clean"},
        "racecheck": {"verdict": "found something"},
    }
    assert "compute-sanitizer: memcheck clean, racecheck found something." in gpu.gpu_block(document)
