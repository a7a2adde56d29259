"""The steps and their processes: what dies, hangs or finds nothing to check is said."""

import subprocess
import sys
import time

import pytest
import torch

from benchmarks.places import REPOSITORY

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")

SCRIPTS = [
    *("attention", "channel_energy", "correctness", "executor", "network", "rtx"),
    *("run_all", "synchronised_norm"),
]

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")


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
    verdict = load("run_all").verdict(returncode, f"========= {output}\n")
    assert verdict["verdict"].startswith(word)
    assert verdict["passed"] == (word == "clean")
    assert verdict["summary"] == output


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


@pytest.mark.parametrize("script", ["network", "rtx"])
def test_a_size_that_no_network_takes_is_refused_in_words(load, monkeypatch, capsys, script):
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--size", "65x130"])
    assert load("measurement").exit_code_of(load(script).main) == 2
    assert "must be 8k or 8k+1" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: `make gpu` runs them")
@pytest.mark.parametrize("script", SCRIPTS)
def test_without_a_gpu_the_script_says_so_and_measures_nothing(script):
    command = [sys.executable, "-m", f"benchmarks.gpu.{script}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no CUDA GPU" in done.stdout
