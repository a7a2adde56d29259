"""Whole engines by the real builder of TensorRT for RTX: R-50 and R-101, two sizes, FP16 and INT8.

Needs no GPU. Weights are random, from a seed: they change no figure but the size, and that little. The INT8
scales are found once a network, on a few drawn scenes at a small size: a scale belongs to a tensor, whatever
its size, so the same scales quantise the large model.

python -m benchmarks.engines.rtx_engines [--depth 50 101] [--size 512x1024 1024x2048] [--target sm_89]
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path
from typing import Any

import torch
from onnxruntime.quantization import CalibrationDataReader
from rich.console import Console
from rich.table import Table

from benchmarks.networks import random_network
from benchmarks.places import results_file
from danet_calibration.int8.coverage import measure_coverage
from danet_calibration.int8.placement import quantise
from danet_calibration.int8.ranges.scales import QuantisedInput, find_scales
from danet_export.graph.geometry import Geometry, plan_geometry
from danet_export.graph.native_bodies import native_functions
from danet_export.graph.onnx_model import to_onnx
from danet_export.graph.wrapper import ExportedDANet, operator_sizes
from danet_runtime.bundle.operators import NAMESPACE
from danet_runtime.cli.options.arguments import parse_size
from danet_runtime.files.atomic import sha256_of, write_json
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.machine import describe_machine
from danet_runtime.tensorrt.build.rtx_builder import build_engine
from danet_runtime.tensorrt.plugins.onnx_file import with_bodies
from danet_train.config.sections import Normalisation
from danet_train.model.danet import DANet
from danet_train.synthetic.dataset import scene

RESULTS = results_file("rtx_engines")
CALIBRATION_HW = (128, 256)
CALIBRATION_FRAMES = 4


class Scenes(CalibrationDataReader):  # type: ignore[misc]
    """Drawn street scenes as the model's input, one at a time."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._next = 0

    def get_first(self) -> dict[str, UInt8Array]:
        picture, _ = scene("train", 0, CALIBRATION_HW, self._seed)
        return {"frame": picture[None]}

    def get_next(self) -> dict[str, UInt8Array] | None:
        if self._next == CALIBRATION_FRAMES:
            return None
        picture, _ = scene("train", self._next, CALIBRATION_HW, self._seed)
        self._next += 1
        return {"frame": picture[None]}

    def rewind(self) -> None:
        self._next = 0


def exported(network: DANet, geometry: Geometry, dtype: torch.dtype) -> bytes:
    """The network as the bundle's ONNX file of one precision."""
    statistics = Normalisation()
    wrapper = ExportedDANet(copy.deepcopy(network), geometry, statistics.mean, statistics.std, dtype)
    content: bytes = to_onnx(wrapper, geometry).SerializeToString()
    return content


def measure(
    network: DANet, scales: list[QuantisedInput], size: str, target: str
) -> dict[str, dict[str, Any]]:
    """The builder's figures of the FP16 and of the INT8 engine at one size."""
    geometry = plan_geometry(parse_size(size, "--size"))
    model = exported(network, geometry, torch.float16)
    quantised = quantise(model, scales)
    share = measure_coverage(quantised).share
    bodies = native_functions(operator_sizes(network.config, geometry))
    figures = {}
    for precision, content in (("fp16", model), ("int8", quantised.SerializeToString())):
        built = build_engine(with_bodies(content, bodies, NAMESPACE), [target])
        figures[precision] = {
            "engine_bytes": len(built.plan),
            "engine_sha256": sha256_of(built.plan),
            "activation_memory_bytes": built.activation_memory_bytes,
            "weights_memory_bytes": built.weights_memory_bytes,
            "layers": built.layers,
            "build_seconds": round(built.build_seconds, 2),
            "conv_mac_share_int8": share if precision == "int8" else 0.0,
        }
    return figures


def show(measured: dict[str, dict[str, dict[str, Any]]], console: Console) -> None:
    """One row an engine."""
    table = Table("network", "size", "precision", "engine MiB", "activations MiB", "layers", "build s")
    for name, sizes in measured.items():
        for size, precisions in sizes.items():
            for precision, row in precisions.items():
                memory = row["activation_memory_bytes"]
                table.add_row(
                    *(name, size, precision),
                    f"{row['engine_bytes'] / 2**20:.1f}",
                    "not told" if memory is None else f"{memory / 2**20:.1f}",
                    *(str(row["layers"]), f"{row['build_seconds']:.1f}"),
                )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, nargs="+", default=[50, 101])
    parser.add_argument("--size", nargs="+", default=["512x1024", "1024x2048"])
    parser.add_argument("--target", default="sm_89")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    import tensorrt_rtx

    console = Console()
    measured: dict[str, dict[str, dict[str, Any]]] = {}
    started = time.perf_counter()
    for depth in arguments.depth:
        network = random_network(depth, arguments.seed)
        with console.status(f"R-{depth}: scales"):
            small = exported(network, plan_geometry(CALIBRATION_HW), torch.float32)
            scales = find_scales(small, Scenes(arguments.seed), "max")
        measured[f"R-{depth}"] = {}
        for size in arguments.size:
            with console.status(f"R-{depth} {size}"):
                measured[f"R-{depth}"][size] = measure(network, scales, size, arguments.target)
    show(measured, console)
    write_json(
        arguments.output,
        {
            "machine": describe_machine(),
            "library": f"tensorrt-rtx {tensorrt_rtx.__version__}",
            "target": arguments.target,
            "attention": "native",
            "seed": arguments.seed,
            "calibration": {"frames": CALIBRATION_FRAMES, "size_hw": CALIBRATION_HW, "method": "max"},
            "engines": measured,
        },
    )
    console.print(f"written to {arguments.output}, {time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
