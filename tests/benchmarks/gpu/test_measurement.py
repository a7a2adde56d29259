"""Clocks, and the file of a GPU's results."""

import json
import subprocess
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")


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


def test_results_go_into_a_file_named_after_the_gpu(load):
    assert load("measurement").gpu_file("NVIDIA H200 (SXM)").name == "nvidia-h200-sxm.json"
