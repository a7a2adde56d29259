"""TensorRT for RTX with a model on the GPU at hand, whatever it is: time, memory, or its error.

python -m benchmarks.gpu.rtx [--depth 50 101] [--size 512x1024 1024x2048] [--bundle FOLDER] [--rounds 20]

Every case runs in a process of its own, so that one which aborts is recorded and the next one runs. The
networks have random weights, in FP16; INT8 needs a calibrated bundle, of which every precision but FP32 is
tried.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.measurement import exit_code_of, gpu_is_missing, record
from benchmarks.places import REPOSITORY
from danet_export.graph.geometry import plan_geometry
from danet_runtime.cli.options.arguments import parse_size
from danet_train.model.backbones.resnet_options import BLOCKS_PER_LAYER

CASE = ("-m", "benchmarks.gpu.rtx_case")
CASE_TIMEOUT_S = 300
MESSAGE_CHARACTERS = 400


@dataclass(frozen=True)
class Case:
    """One network at one size: a depth with random weights, or a bundle's own model."""

    network: str
    size: str
    precision: str
    bundle: Path | None = None

    def arguments(self, rounds: int) -> list[str]:
        """The arguments of the case's process."""
        folder = [str(self.bundle)] if self.bundle else []
        return [self.network, self.size, self.precision, str(rounds), *folder]


def bundle_cases(folder: Path) -> list[Case]:
    """A bundle's variants beside FP32."""
    from danet_runtime.bundle import Bundle

    manifest = Bundle.open(folder).manifest
    size = "x".join(map(str, manifest.frame.size_hw))
    return [
        Case(folder.name, size, precision, folder) for precision in manifest.variants if precision != "fp32"
    ]


def measure(
    case: Case, rounds: int, script: Sequence[str] = CASE, timeout_s: float = CASE_TIMEOUT_S
) -> dict[str, Any]:
    """The outcome of one case: the figures, or the error and at which stage."""
    row: dict[str, Any] = {"network": case.network, "size": case.size, "precision": case.precision}
    command = [sys.executable, *script, *case.arguments(rounds)]
    try:
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        printed = error.stdout or b""  # bytes, whatever was asked for
        text = printed.decode(errors="replace")
        return row | last_answer(text) | {"error": f"stopped after {timeout_s:g} s"}
    row |= last_answer(done.stdout)
    if done.returncode == 0 and "milliseconds" in row:
        return row
    message = (done.stderr.strip().splitlines() or ["it said nothing"])[-1][-MESSAGE_CHARACTERS:]
    return row | {"error": f"{ending(done.returncode)}: {message}"}


def last_answer(text: str) -> dict[str, Any]:
    """The last line that is a JSON object; the library may print beside it."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                answer: dict[str, Any] = json.loads(line)
            except ValueError:
                continue
            return answer
    return {}


def ending(returncode: int) -> str:
    """How a process ended, in words."""
    if returncode >= 0:
        return f"exit code {returncode}"
    return f"killed by {signal.Signals(-returncode).name}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    depths = sorted(BLOCKS_PER_LAYER)
    parser.add_argument("--depth", type=int, nargs="+", choices=depths, default=[50, 101])
    parser.add_argument("--size", nargs="+", default=["512x1024", "1024x2048"])
    parser.add_argument("--bundle", type=Path, help="also the fp16 and int8 variants of this bundle")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    for size in arguments.size:
        plan_geometry(parse_size(size, "--size"))
    if gpu_is_missing():
        return 0
    cases = [Case(f"R-{depth}", size, "fp16") for depth in arguments.depth for size in arguments.size]
    if arguments.bundle:
        cases += bundle_cases(arguments.bundle)
    rows = []
    for case in cases:
        rows.append(measure(case, arguments.rounds))
        outcome = rows[-1].get("error") or f"{rows[-1]['milliseconds']:.2f} ms"
        print(f"{case.network} {case.size} {case.precision}: {outcome}")
    print(f"written to {record('tensorrt_rtx_native', {'measurements': rows})}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
