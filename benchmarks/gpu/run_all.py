"""Everything that a GPU is needed for, in order: correctness, sanitizers, benchmarks, the tables.

python -m benchmarks.gpu.run_all [--only STEP ...]

Results go into benchmarks/results/<gpu>.json. Exits 1 where a step fails, after the others have run; 0 with a
message where there is no GPU. Without compute-sanitizer memory and races count as not checked, and the
results say so.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.gpu.measurement import gpu_is_missing, record
from benchmarks.places import REPOSITORY

SANITIZERS = ("memcheck", "racecheck")
FOUND_SOMETHING = 99
"""Exit code of compute-sanitizer that no script of ours gives."""
SANITIZER_TIMEOUT_S = 3600
"""The limit of one tool: a kernel is up to hundreds of times slower under it."""
COUNT = re.compile(r"(\d+) (?:errors?|warnings?|hazards?)\b")
CHECKED = ("benchmarks.gpu.correctness", "--check", "--dtype", "fp16", "--tokens", "8192", "9409")

OWN_ALLOCATIONS = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
"""One allocation a tensor, so that memcheck sees where each one ends."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one step; ``passed`` is None where nothing was checked."""

    passed: bool | None
    words: str
    seconds: float = 0.0


def run_script(*command: str) -> Outcome:
    """Run a module with its arguments; its output goes through."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=REPOSITORY, check=False)
    return Outcome(done.returncode == 0, "passed" if done.returncode == 0 else f"exit code {done.returncode}")


def find_sanitizer() -> str | None:
    """compute-sanitizer, which comes with the CUDA toolkit and is not always on the path."""
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")


def run_sanitizers() -> Outcome:
    """Our kernels alone under each tool; what each says is recorded."""
    program = find_sanitizer()
    if program is None:
        words = "no compute-sanitizer here"
        print(f"not checked: {words}; it comes with the CUDA toolkit")
        unchecked = {"passed": None, "verdict": "not checked", "summary": words}
        record("compute_sanitizer", dict.fromkeys(SANITIZERS, unchecked))
        return Outcome(None, words)
    verdicts: dict[str, Any] = {}
    for tool in SANITIZERS:
        command = [program, "--error-exitcode", str(FOUND_SOMETHING), "--tool", tool, sys.executable]
        started = time.perf_counter()
        returncode, output = run_limited(
            [*command, "-m", *CHECKED],
            {**os.environ, **OWN_ALLOCATIONS},
            SANITIZER_TIMEOUT_S,
        )
        print(output)
        verdicts[tool] = {**verdict(returncode, output), "seconds": time.perf_counter() - started}
    record("compute_sanitizer", {"checked": " ".join(CHECKED), **verdicts})
    words = "; ".join(f"{tool}: {answer['verdict']}" for tool, answer in verdicts.items())
    return Outcome(all(answer["passed"] for answer in verdicts.values()), words)


def run_limited(command: Sequence[str], env: Mapping[str, str], timeout_s: float) -> tuple[int | None, str]:
    """Run a program and all that it starts, for ``timeout_s`` at most.

    Returns:
        Its exit code, None where it was stopped, and all that it printed.
    """
    with subprocess.Popen(
        command,
        env=env,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # a tool starts the script as a process of its own, which must end with it
    ) as process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            return None, output
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, output


def verdict(returncode: int | None, output: str) -> dict[str, Any]:
    """The outcome of a run under a tool, from its exit code and the counts in the summaries that it prints.

    Warnings of racecheck need not set the exit code, so every count must be 0.
    """
    summaries = [line.strip("= \n") for line in output.splitlines() if "SUMMARY" in line]
    counts = [int(count) for line in summaries for count in COUNT.findall(line)]
    if returncode is None:
        what = f"stopped after {SANITIZER_TIMEOUT_S} s"
    elif returncode == FOUND_SOMETHING or any(counts):
        what = "found something"
    elif returncode:
        what = f"did not finish (exit code {returncode})"
    else:
        what = "clean" if counts else "gave no counts"
    return {"passed": what == "clean", "verdict": what, "summary": "; ".join(summaries)}


STEPS: dict[str, Callable[[], Outcome]] = {
    "correctness": lambda: run_script("benchmarks.gpu.correctness"),
    "sanitizers": run_sanitizers,
    "synchronised-norm": lambda: run_script("benchmarks.gpu.synchronised_norm"),
    "attention": lambda: run_script("benchmarks.gpu.attention"),
    "attention-bf16": lambda: run_script("benchmarks.gpu.attention", "--dtype", "bf16"),
    "channel": lambda: run_script("benchmarks.gpu.channel_energy"),
    "channel-bf16": lambda: run_script("benchmarks.gpu.channel_energy", "--dtype", "bf16"),
    "network": lambda: run_script("benchmarks.gpu.network"),
    "executor": lambda: run_script("benchmarks.gpu.executor"),
    "rtx": lambda: run_script("benchmarks.gpu.rtx"),
    "tables": lambda: run_script("benchmarks.tables"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS), help="steps to run")
    arguments = parser.parse_args()
    if gpu_is_missing():
        return 0
    outcomes = {}
    for name in [step for step in STEPS if step in arguments.only]:
        print(f"== {name}", flush=True)
        started = time.perf_counter()
        outcome = STEPS[name]()
        outcomes[name] = Outcome(outcome.passed, outcome.words, time.perf_counter() - started)
    table = Table("step", "", "seconds")
    for name, outcome in outcomes.items():
        prefix = {True: "", False: "FAILED: ", None: "not checked: "}[outcome.passed]
        table.add_row(name, prefix + outcome.words, f"{outcome.seconds:.0f}")
    Console().print(table)
    return int(any(outcome.passed is False for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
