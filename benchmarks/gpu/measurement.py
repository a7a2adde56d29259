"""Times side by side in one run, peak memory, and the file that holds a GPU's results."""

from __future__ import annotations

import json
import os
import re
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from danet_runtime.files import write_json

RESULTS = Path(os.environ.get("DANET_GPU_RESULTS", Path(__file__).resolve().parents[1] / "results"))
"""A run under a sanitizer sets the variable, so that its times replace none."""
MATMUL_EXTENT = 8192
HEAD_START_CYCLES = 2_000_000
"""About a millisecond."""

Candidate = Callable[[], torch.Tensor]


def time_side_by_side(candidates: Mapping[str, Candidate], rounds: int) -> dict[str, float]:
    """Median milliseconds of each candidate, by CUDA events; a round runs every candidate once.

    Args:
        candidates: Each allocates its own output, which is dropped.
        rounds: After one to warm up.
    """
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, candidate in candidates.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            # Keeps the GPU busy until the host has enqueued everything: host time would count otherwise.
            torch.cuda._sleep(HEAD_START_CYCLES)
            start.record()
            candidate()
            end.record()
            end.synchronize()
            if turn:
                times[name].append(start.elapsed_time(end))
    return {name: statistics.median(values) for name, values in times.items()}


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
    """Rate of an 8192^3 BF16 matmul on this GPU, now."""
    a, b = (torch.randn(MATMUL_EXTENT, MATMUL_EXTENT, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    (milliseconds,) = time_side_by_side({"matmul": lambda: a @ b}, rounds).values()
    return 2 * MATMUL_EXTENT**3 / milliseconds / 1e9


def relative_error(got: torch.Tensor, expected: torch.Tensor) -> float:
    """In the Frobenius norm, in FP64."""
    return float((got.double() - expected.double()).norm() / expected.double().norm())


def gpu_file(name: str) -> Path:
    """Where the results of a GPU of this name go."""
    return RESULTS / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"


def record(section: str, content: Mapping[str, Any]) -> Path:
    """Put one section into the file of the GPU at hand; the others stay."""
    properties = torch.cuda.get_device_properties(0)
    path = gpu_file(properties.name)
    document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"kind": "gpu-results"}
    document["gpu"] = {
        "name": properties.name,
        "capability": f"sm_{properties.major}{properties.minor}",
        "memory_bytes": properties.total_memory,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }
    document[section] = dict(content)
    write_json(path, document)
    return path
