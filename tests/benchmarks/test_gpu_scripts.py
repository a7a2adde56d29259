"""The scripts for a GPU as far as they run without one: references, judgements, clocks, and the skip."""

import importlib
import json
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from benchmarks.places import REPOSITORY

from danet_export.ops import channel_energy, position_attention
from danet_export.ops.exact import softmax
from danet_export.ops.execution import plain_ops

SCRIPTS = [
    *("attention", "channel_energy", "correctness", "executor", "network", "rtx"),
    *("run_all", "synchronised_norm"),
]

triton = pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")


@pytest.fixture
def load():
    """Import a script by its name."""
    return lambda name: importlib.import_module(f"benchmarks.gpu.{name}")


def test_all_stock_ways_of_the_attention_compute_the_reference(load):
    cases, stock = load("cases"), load("stock_attention")
    torch.manual_seed(0)
    inputs = cases.draw_attention(130, torch.float32)
    expected = cases.attention_reference(*inputs)
    arrays = dict(zip("qkvx", (part.numpy() for part in inputs), strict=True))
    assert np.allclose(expected.numpy(), position_attention.reference(arrays, {}))
    for got in (stock.eager(*inputs), stock.fused(*inputs, 1), stock.fused(*inputs, 8)):
        assert ((got.double() - expected).norm() / expected.norm()).item() < 1e-5


def test_energies_beyond_fp16_are_drawn_where_they_are_asked_for(load):
    correctness = load("correctness")
    (query, key, *_), _ = load("cases").draw_and_solve(
        "PositionAttention", 300, torch.float16, correctness.LARGE_ENERGIES
    )
    assert (query.flatten(2).double()[0].T @ key.flatten(2).double()[0]).abs().max() > 65504


def test_the_bundles_kernels_for_a_gpu_are_found_or_made(load, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    own_kernels = load("own_kernels")
    found = own_kernels.find_kernels(8192, "fp16", "sm_90")
    operators = ("PositionAttention", "ChannelEnergy", "UpsampleArgmax")
    assert set(found.kernels) == {
        (operator, variant) for operator in operators for variant in ("tuned", "small")
    }
    assert b".visible .entry position_attention(" in found.kernels["PositionAttention", "tuned"].ptx
    assert found.triton == triton.__version__
    spec = own_kernels.find_spec("PositionAttention", 8192, "tuned", "sm_90")
    assert found.kernels["PositionAttention", "tuned"].kernel.grid == spec.grid


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


class Clock:
    """A GPU's clock for events: work that the host hands over takes ``gpu_ms`` and the host ``host_ms``."""

    def __init__(self, monkeypatch, host_ms, gpu_ms, most_waiting_ms=1e9):
        self.host, self.gpu, self.host_ms, self.gpu_ms = 0.0, 0.0, host_ms, gpu_ms
        self.most_waiting_ms = most_waiting_ms
        clock = self

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self):
                clock.gpu = max(clock.gpu, clock.host)
                self.at = clock.gpu

            def query(self):
                return clock.host >= self.at

            def synchronize(self):
                clock.host = max(clock.host, self.at)

            def elapsed_time(self, end):
                return end.at - self.at

        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "_sleep", self.sleep)

    def sleep(self, cycles):
        self.gpu = max(self.gpu, self.host) + cycles / 1e6

    def candidate(self):
        for _ in range(10):  # of ten kernels each starts when it is enqueued, or when its forerunner is done
            self.host += self.host_ms / 10
            self.gpu = max(self.gpu, self.host) + self.gpu_ms / 10
        if self.gpu - self.host > self.most_waiting_ms:
            self.host = self.gpu


@pytest.mark.parametrize("host_ms", [0.1, 5.0, 60.0])
def test_the_time_is_the_gpus_however_long_the_host_takes_to_enqueue(load, monkeypatch, host_ms):
    measurement = load("measurement")
    clock = Clock(monkeypatch, host_ms=host_ms, gpu_ms=2.0)
    timing = measurement.time_side_by_side({"network": clock.candidate}, 3)["network"]
    assert timing.median_ms == pytest.approx(2.0)
    assert not timing.host_bound
    assert timing.row()["milliseconds_range"] == pytest.approx([2.0, 2.0])


def test_where_the_host_waits_for_the_gpu_it_is_said(load, monkeypatch):
    clock = Clock(monkeypatch, host_ms=5.0, gpu_ms=2.0, most_waiting_ms=0.0)
    timing = load("measurement").time_side_by_side({"synchronising": clock.candidate}, 3)["synchronising"]
    assert timing.host_bound


def test_a_pool_is_counted_alone(load):
    network_script = load("network")
    snapshot = [
        {"segment_pool_id": (0, 3), "total_size": 100},
        {"segment_pool_id": (0, 0), "total_size": 7},
        {"segment_pool_id": (0, 3), "total_size": 20},
    ]
    assert network_script.pool_bytes(snapshot, (0, 3)) == 120
    with pytest.raises(ValueError, match="segments of the pool"):
        network_script.pool_bytes(snapshot, (0, 4))


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (
            'print(\'{"stage": "run"}\', flush=True); import os; os.abort()',
            "killed by SIGABRT: it said nothing",
        ),
        ("import sys; print('{\"stage\": \"run\"}'); sys.exit('no such GPU')", "exit code 1: no such GPU"),
        ("print('{\"stage\": \"run\"}'); print('{ no JSON')", "exit code 0: it said nothing"),
        ('print(\'{"stage": "run", "milliseconds": 1.5}\')', None),
    ],
)
def test_a_case_of_tensorrt_rtx_that_dies_is_recorded_with_its_stage(load, tmp_path, script, error):
    file = tmp_path / "case.py"
    file.write_text(script)
    rtx = load("rtx")
    row = rtx.measure(rtx.Case("R-50", "64x128", "fp16"), 3, (str(file),))
    assert (row["network"], row["stage"], row.get("error")) == ("R-50", "run", error)


def test_a_sanitizers_word_is_its_exit_code_and_summary(load):
    verdict = load("run_all").verdict
    clean = verdict(0, "========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n")
    assert clean == {"passed": True, "verdict": "clean", "summary": "ERROR SUMMARY: 0 errors"}
    assert verdict(99, "========= RACECHECK SUMMARY: 2 hazards displayed")["verdict"] == "found something"
    assert not verdict(0, "nothing ran")["passed"]
    assert "exit code 1" in verdict(1, "")["verdict"]


@pytest.mark.parametrize(
    ("returncode", "output", "word"),
    [
        (0, "RACECHECK SUMMARY: 2 hazards displayed (0 errors, 2 warnings)", "found something"),
        (0, "RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)", "clean"),
        (0, "ERROR SUMMARY: 1 error", "found something"),
        (0, "ERROR SUMMARY: unknown", "gave no counts"),
        (None, "ERROR SUMMARY: 0 errors", "stopped after"),
    ],
)
def test_counts_in_a_summary_decide_whatever_the_exit_code_says(load, returncode, output, word):
    told = load("run_all").verdict(returncode, f"========= {output}\n")
    assert told["verdict"].startswith(word)
    assert told["passed"] == (word == "clean")
    assert told["summary"] == output


def test_a_tool_that_hangs_is_stopped_with_all_that_it_started(load):
    run_limited = load("run_all").run_limited
    begun = time.monotonic()
    assert run_limited(["sh", "-c", "echo before; (sleep 300) & wait"], {}, 1.0) == (None, "before\n")
    assert time.monotonic() - begun < 100, "the output ends when the last process that holds it does"
    assert run_limited(["sh", "-c", "echo out; echo err >&2; exit 3"], {}, 9) == (3, "out\nerr\n")


def test_without_the_sanitizer_nothing_counts_as_checked(load, monkeypatch):
    run_all = load("run_all")
    recorded = {}
    monkeypatch.setattr(run_all, "find_sanitizer", lambda: None)
    monkeypatch.setattr(run_all, "record", recorded.__setitem__)
    assert run_all.run_sanitizers().passed is None
    verdicts = {tool: recorded["compute_sanitizer"][tool]["verdict"] for tool in run_all.SANITIZERS}
    assert verdicts == {"memcheck": "not checked", "racecheck": "not checked"}


def test_what_was_printed_before_a_timeout_is_kept(load, tmp_path):
    file = tmp_path / "case.py"
    file.write_text('print(\'{"stage": "run", "engine_bytes": 7}\', flush=True); import time; time.sleep(99)')
    rtx = load("rtx")
    row = rtx.measure(rtx.Case("R-50", "64x128", "fp16"), 3, (str(file),), timeout_s=2)
    assert (row["stage"], row["engine_bytes"], row["error"]) == ("run", 7, "stopped after 2 s")


def test_each_section_says_what_it_was_made_with(load, monkeypatch, tmp_path):
    measurement = load("measurement")
    monkeypatch.setattr(measurement, "GPU_RESULTS", tmp_path)
    properties = SimpleNamespace(name="GPU", major=9, minor=0, total_memory=1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    for name in ("first", "second"):
        monkeypatch.setattr(measurement, "commit", lambda name=name: f"of-{name}")
        path = measurement.record(name, {"passed": True})
    document = json.loads(path.read_text())
    assert {name: document[name]["made_with"]["commit"] for name in ("first", "second")} == {
        "first": "of-first",
        "second": "of-second",
    }
    assert document["first"]["made_with"]["torch"] == torch.__version__
    assert document["gpu"] == {"name": "GPU", "capability": "sm_90", "memory_bytes": 1}


def test_a_commit_is_named_with_whether_code_differs_from_it(load, tmp_path):
    commit = load("measurement").commit
    assert commit(tmp_path) == "unknown"

    def git(*arguments):
        identity = ("-c", "user.name=n", "-c", "user.email=e")
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)

    git("init")
    for name in ("README.md", "code.py"):
        (tmp_path / name).write_text("1")
    git("add", ".")
    git("commit", "-m", "m")
    clean = commit(tmp_path)
    (tmp_path / "README.md").write_text("a new block")
    assert commit(tmp_path) == clean
    assert len(clean) == 12
    (tmp_path / "code.py").write_text("2")
    assert commit(tmp_path) == f"{clean}-dirty"


def test_a_form_without_room_is_recorded_and_the_others_are_measured(load, monkeypatch):
    script = load("network")
    timing = load("measurement").Timing.of([2.0], host_bound=False)
    image = torch.zeros(1)
    truth = {"fits": False}

    class Network:
        def __call__(self, _image):
            if not truth["fits"]:
                raise torch.OutOfMemoryError("FP32 does not fit\nmore")
            return torch.ones(4)

        def to(self, *_, **__):
            return self

        half = to

        def state_dict(self):
            return {"weight": torch.zeros(3)}

    def eager(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.\nmore")

    monkeypatch.setattr(script, "DEVICE", "cpu")
    monkeypatch.setattr(script, "Eager", lambda network: network)
    monkeypatch.setattr(script, "random_network", lambda _: Network())
    monkeypatch.setattr(script, "in_half", lambda _: (eager, Network()))
    monkeypatch.setattr(torch, "randn", lambda *_, **__: torch.zeros(1, 3, 8, 8))
    monkeypatch.setattr(
        script, "plain_form", lambda module, _: eager() if module is eager else script.Form(lambda: image, 5)
    )
    monkeypatch.setattr(script, "graph_form", lambda *_: script.Form(lambda: image + 1, 6, 7))
    for clock in ("time_side_by_side", "loop_side_by_side"):
        monkeypatch.setattr(script, clock, lambda runs, *_: dict.fromkeys(runs, timing))
    row = script.measure(50, (8, 8), 1)
    assert row["forms"]["eager"] == {"skipped": "CUDA out of memory."}
    assert row["forms"]["kernels"]["fps"] == row["forms"][script.GRAPH]["fps"] == 500
    assert (row["truth_skipped"], row["forms"]["kernels"]["label_agreement"]) == ("FP32 does not fit", None)
    assert row["graph_device_bytes"] == 7
    assert script.problems([row]) == []
    script.show([row], {})
    truth["fits"] = True
    row = script.measure(50, (8, 8), 1)
    assert [row["forms"][name]["label_agreement"] for name in ("kernels", script.GRAPH)] == [0.0, 1.0]
    assert len(script.problems([row])) == 1


def test_batch_norm_is_folded_before_weights_are_rounded(load, monkeypatch):
    script = load("network")
    folded = []
    fold = script.fold_batch_norm

    def watched(network):
        folded.extend({part.dtype for part in network.parameters()})
        fold(network)

    monkeypatch.setattr(script, "fold_batch_norm", watched)
    network = script.build_model(18, base_channels=8, stem_channels=8, head_channels=32, aux_channels=0)
    eager, fused = script.in_half(network.eval())
    assert folded == [torch.float32]
    for module in (eager, fused):
        assert {part.dtype for part in module.parameters()} == {torch.float16}


@pytest.mark.parametrize("script", ["network", "rtx"])
def test_a_size_that_no_network_takes_is_refused_in_words(load, monkeypatch, capsys, script):
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--size", "65x130"])
    assert load("measurement").exit_code_of(load(script).main) == 2
    assert "must be 8k or 8k+1" in capsys.readouterr().err


def test_results_go_into_a_file_named_after_the_gpu(load):
    assert load("measurement").gpu_file("NVIDIA H200 (SXM)").name == "nvidia-h200-sxm.json"


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: `make gpu` runs them")
@pytest.mark.parametrize("script", SCRIPTS)
def test_without_a_gpu_the_script_says_so_and_measures_nothing(script):
    command = [sys.executable, "-m", f"benchmarks.gpu.{script}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
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
    image = torch.randn(1, 3, 64, 128).half()
    with torch.inference_mode(), plain_ops():
        eager, fused = network_script.in_half(network)
        expected, labels = eager(image), fused(image)
    assert (labels == expected).float().mean() > network_script.AGREEMENT
    assert len(expected.unique()) > 2
