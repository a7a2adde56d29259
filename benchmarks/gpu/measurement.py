"""Times side by side in one run, peak memory, and the file that holds a GPU's results."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.places import GPU_RESULTS, REPOSITORY
from danet_runtime.errors import DanetError
from danet_runtime.files.atomic import write_json

DEVICE = "cuda"
MATMUL_EXTENT = 8192
CALIBRATION_CYCLES = 20_000_000
SHORTEST_HEAD_START_MS, LONGEST_HEAD_START_MS = 1.0, 256.0

Candidate = Callable[[], torch.Tensor]


@dataclass(frozen=True)
class Timing:
    """The time of one candidate over the rounds.

    Attributes:
        median_ms: Median of the rounds.
        lowest_ms: Fastest round.
        highest_ms: Slowest round.
        host_bound: Whether in any round the GPU waited for the host, so that host time is in the figures.
    """

    median_ms: float
    lowest_ms: float
    highest_ms: float
    host_bound: bool

    @classmethod
    def of(cls, times_ms: list[float], host_bound: bool) -> Timing:
        """The figures of these rounds."""
        return cls(statistics.median(times_ms), min(times_ms), max(times_ms), host_bound)

    def row(self) -> dict[str, Any]:
        """As it is recorded."""
        spread = [self.lowest_ms, self.highest_ms]
        return {
            "milliseconds": self.median_ms,
            "milliseconds_range": spread,
            "host_bound": self.host_bound,
        }


def gpu_is_missing() -> bool:
    """Whether there is no CUDA GPU, which is then said."""
    if torch.cuda.is_available():
        return False
    print("skipped: no CUDA GPU here (torch.cuda.is_available() is false); nothing was measured")
    return True


def time_side_by_side(candidates: Mapping[str, Candidate], rounds: int) -> dict[str, Timing]:
    """The GPU's time of each candidate, by CUDA events; a round runs every candidate once.

    Before each measurement the GPU is kept busy until the host has enqueued everything, for as long as that
    takes with this candidate: a whole network takes the host longer than one kernel.

    Args:
        candidates: Each allocates its own output, which is dropped.
        rounds: After those to warm up.
    """
    cycles_a_ms = _cycles_a_millisecond()
    head_starts_ms = {name: _find_head_start(run, cycles_a_ms) for name, run in candidates.items()}
    times_ms: dict[str, list[float]] = {name: [] for name in candidates}
    late: dict[str, bool] = dict.fromkeys(candidates, False)
    for _ in range(rounds):
        for name, candidate in candidates.items():
            milliseconds, was_late = _time_once(candidate, head_starts_ms[name] * cycles_a_ms)
            times_ms[name].append(milliseconds)
            late[name] |= was_late
    return {name: Timing.of(times_ms[name], late[name]) for name in candidates}


def loop_side_by_side(candidates: Mapping[str, Candidate], rounds: int, calls: int) -> dict[str, Timing]:
    """Time of a call by the host's clock, calls one after the other without waiting, as a stream makes them.

    Args:
        candidates: As above, already warm.
        rounds: A round runs every candidate ``calls`` times.
        calls: Between two synchronisations.
    """
    times_ms: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, candidate in candidates.items():
            torch.cuda.synchronize()
            started = time.perf_counter()
            for _ in range(calls):
                candidate()
            torch.cuda.synchronize()
            times_ms[name].append((time.perf_counter() - started) * 1000 / calls)
    return {name: Timing.of(values, host_bound=False) for name, values in times_ms.items()}


def peak_beyond_output(candidate: Candidate) -> int:
    """Bytes of device memory that PyTorch hands out during a call, beyond inputs and the output."""
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    output = candidate()
    torch.cuda.synchronize()
    kept = torch.cuda.memory_allocated() - before
    peak = torch.cuda.max_memory_allocated() - before
    del output
    return max(0, peak - kept)


def matmul_tflops(rounds: int) -> float:
    """Rate of an 8192^3 BF16 matmul on this GPU, now, on random data."""
    a, b = (torch.randn(MATMUL_EXTENT, MATMUL_EXTENT, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    (timing,) = time_side_by_side({"matmul": lambda: a @ b}, rounds).values()
    return 2 * MATMUL_EXTENT**3 / timing.median_ms / 1e9


def relative_error(got: torch.Tensor, expected: torch.Tensor) -> float:
    """In the Frobenius norm, in FP64; not a number where the result holds one that is none."""
    return float((got.double() - expected.double()).norm() / expected.double().norm())


def gpu_file(name: str) -> Path:
    """Where the results of a GPU of this name go."""
    return GPU_RESULTS / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"


def made_with() -> dict[str, str | None]:
    """Origin of a section's figures: the code, and the libraries beside it."""
    from danet_export.kernels.compiler import triton_version

    return {
        "commit": commit(),
        "torch": str(torch.__version__),
        "triton": triton_version(),
        "cuda": torch.version.cuda,
    }


def commit(folder: Path = REPOSITORY) -> str:
    """The commit of a working tree, ``-dirty`` where code differs from it; ``unknown`` without git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    written_here = (":!benchmarks/results", ":!README.md", ":!docs")
    try:
        name = git("rev-parse", "--short=12", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", *written_here)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name}-dirty" if changed else name


def record(section: str, content: Mapping[str, Any]) -> Path:
    """Put one section into the file of the GPU at hand, with what it was made with; the others stay."""
    properties = torch.cuda.get_device_properties(0)
    path = gpu_file(properties.name)
    document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"kind": "gpu-results"}
    document["gpu"] = {
        "name": properties.name,
        "capability": f"sm_{properties.major}{properties.minor}",
        "memory_bytes": properties.total_memory,
    }
    document[section] = {"made_with": made_with(), **content}
    write_json(path, document)
    return path


def exit_code_of(main: Callable[[], int]) -> int:
    """Run a script; what it refuses is said without a traceback."""
    try:
        return main()
    except DanetError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def _time_once(candidate: Candidate, head_start_cycles: float) -> tuple[float, bool]:
    """Milliseconds, and whether the GPU had begun before the host was done."""
    start, end = _event(), _event()
    torch.cuda._sleep(int(head_start_cycles))  # type: ignore[no-untyped-call]
    start.record()
    candidate()
    end.record()
    was_late: bool = start.query()  # type: ignore[no-untyped-call]
    end.synchronize()
    return start.elapsed_time(end), was_late


def _find_head_start(candidate: Candidate, cycles_a_ms: float) -> float:
    """Milliseconds of a head start that suffices, with as much again to spare; warms the candidate up."""
    milliseconds = SHORTEST_HEAD_START_MS
    candidate()
    while _time_once(candidate, milliseconds * cycles_a_ms)[1] and milliseconds < LONGEST_HEAD_START_MS:
        milliseconds *= 2
    return min(2 * milliseconds, LONGEST_HEAD_START_MS)


def _cycles_a_millisecond() -> float:
    start, end = _event(), _event()
    torch.cuda._sleep(CALIBRATION_CYCLES)  # type: ignore[no-untyped-call]  # wakes the clocks
    start.record()
    torch.cuda._sleep(CALIBRATION_CYCLES)  # type: ignore[no-untyped-call]
    end.record()
    end.synchronize()
    milliseconds: float = start.elapsed_time(end)
    return CALIBRATION_CYCLES / milliseconds
