"""Why INT8 engines of TensorRT for RTX take more activation memory than FP16 ones, and what would mend it.

Needs no GPU: the builder's log lists every kernel with its tensors. Built are DANet R-50 with Q/DQ as they
are placed, with parts of them left out, and with the weights' scales put elsewhere: one a tensor instead of
one a channel (which costs accuracy), and one a tensor with each channel's factor multiplied behind the
convolution (which does not: the INT8 values stay the same). Random weights from a seed, as in rtx_engines.py.

python -m benchmarks.engines.rtx_int8_memory [--size 512x1024 1024x2048] [--target sm_89]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from rich.console import Console
from rich.table import Table

from benchmarks.engines.rtx_engines import CALIBRATION_HW, Scenes, exported
from benchmarks.engines.rtx_layers import (
    activation_memory_bytes,
    convolution_types,
    find_peak,
    moved_bytes,
    read_layers,
)
from benchmarks.networks import random_network
from benchmarks.places import results_file
from danet_calibration.int8.coverage import measure_coverage
from danet_calibration.int8.placement import quantise
from danet_calibration.int8.ranges.ranges import QuantisedInput
from danet_calibration.int8.ranges.scales import find_scales
from danet_export.graph.geometry import plan_geometry
from danet_export.graph.native_bodies import native_functions
from danet_export.graph.wrapper import operator_sizes
from danet_runtime.bundle.operators import NAMESPACE
from danet_runtime.cli.options.arguments import parse_size
from danet_runtime.files.atomic import write_json
from danet_runtime.machine import describe_machine
from danet_runtime.tensorrt.build.rtx_builder import target_setter
from danet_runtime.tensorrt.plugins.onnx_file import with_bodies

RESULTS = results_file("rtx_int8_memory")
DEPTH = 50
LISTED_TENSORS = 4


def one_scale_a_tensor(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights with one scale, their largest: what they compute is wrong then, only layers are looked at."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for _, dequantise, scales in _quantised_weights(changed):
        _set_scale(changed, dequantise, float(scales.max()))
    return changed


def factors_behind(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same INT8 weights with one scale, and what each channel's differs from it as a factor behind.

    The scale is the geometric mean of the channels', so that neither products nor factors leave FP16's range.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    behind: dict[str, list[onnx.NodeProto]] = {}
    for node, dequantise, scales in _quantised_weights(changed):
        dtype = _constant(graph, dequantise.input[1]).dtype
        mean = float(np.exp(np.log(scales).mean()).astype(dtype))  # as it will be stored
        _set_scale(changed, dequantise, mean)
        name, output = node.name, node.output[0]
        factors = (scales / mean).reshape(-1, 1, 1).astype(dtype)
        graph.initializer.append(numpy_helper.from_array(factors, f"{name}_factors"))
        node.output[0] = f"{output}_products"
        product = f"{output}_scaled" if len(node.input) > 2 else output
        nodes = [helper.make_node("Mul", [node.output[0], f"{name}_factors"], [product], name=f"{name}_mul")]
        if len(node.input) > 2:
            bias = _constant(graph, node.input[2]).reshape(-1, 1, 1)
            graph.initializer.append(numpy_helper.from_array(bias, f"{name}_bias"))
            del node.input[2]
            nodes.append(helper.make_node("Add", [product, f"{name}_bias"], [output], name=f"{name}_add"))
        behind[name] = nodes
    ordered = [entry for node in graph.node for entry in (node, *behind.get(node.name, []))]
    del graph.node[:]
    graph.node.extend(ordered)
    onnx.checker.check_model(changed)
    return changed


def _quantised_weights(
    model: onnx.ModelProto,
) -> list[tuple[onnx.NodeProto, onnx.NodeProto, np.ndarray[Any, np.dtype[np.float64]]]]:
    """Each convolution with one scale a channel: it, its weights' DequantizeLinear, and the scales (C,)."""
    made = {name: node for node in model.graph.node for name in node.output}
    found = []
    for node in model.graph.node:
        source = made.get(node.input[1]) if node.op_type == "Conv" else None
        if source is not None and source.op_type == "DequantizeLinear":
            scales = _constant(model.graph, source.input[1]).astype(np.float64)
            if scales.ndim:
                found.append((node, source, scales))
    return found


def _constant(graph: onnx.GraphProto, name: str) -> np.ndarray[Any, Any]:
    return np.asarray(
        next(numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name == name)
    )


def _set_scale(model: onnx.ModelProto, dequantise: onnx.NodeProto, scale: float) -> None:
    graph, stem = model.graph, dequantise.name
    dtype = _constant(graph, dequantise.input[1]).dtype
    graph.initializer.append(numpy_helper.from_array(np.asarray(scale, dtype), f"{stem}_one_scale"))
    graph.initializer.append(numpy_helper.from_array(np.asarray(0, np.int8), f"{stem}_one_zero"))
    dequantise.input[1:] = [f"{stem}_one_scale", f"{stem}_one_zero"]
    del dequantise.attribute[:]


def examine(model: bytes, target: str) -> dict[str, Any]:
    """Build an engine, and say what it holds.

    Args:
        model: With standard operators, or function bodies for the others.
        target: As ``sm_89``.

    Raises:
        SystemExit: It cannot be parsed or built.
    """
    import tensorrt_rtx as trt

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.messages: list[str] = []

        def log(self, _severity: Any, message: str) -> None:  # noqa: ANN401
            self.messages.append(message)

    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        raise SystemExit(f"TensorRT for RTX cannot parse the model: {log.messages[-1]}")
    config = builder.create_builder_config()
    target_setter([target])(config)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise SystemExit(f"TensorRT for RTX cannot build the model: {log.messages[-1]}")
    layers = read_layers(log.messages)
    peak = find_peak(layers)
    return {
        "activation_memory_bytes": activation_memory_bytes(log.messages),
        "engine_bytes": plan.nbytes,
        "kernels": len(layers),
        "convolutions": convolution_types(layers),
        "moved_bytes": moved_bytes(layers),
        "live_bytes_at_peak": peak.bytes,
        "live_at_peak": [
            {"dtype": tensor.dtype, "shape": tensor.shape, "bytes": tensor.bytes}
            for tensor in peak.tensors[:LISTED_TENSORS]
        ],
    }


def variants(model: bytes, scales: Sequence[QuantisedInput]) -> dict[str, onnx.ModelProto]:
    """The models to build, by name; the first is the one without INT8."""
    operators = {node.name: node.op_type for node in onnx.load_from_string(model).graph.node}

    def without(operator: str) -> onnx.ModelProto:
        return quantise(model, [item for item in scales if operators[item.node] != operator])

    placed = quantise(model, scales)
    return {
        "FP16": onnx.load_from_string(model),
        "INT8": placed,
        "INT8 without Q/DQ at the residual sums": without("Add"),
        "INT8 without Q/DQ at the pooling": without("MaxPool"),
        "INT8, one weight scale a tensor": one_scale_a_tensor(placed),
        "INT8, channel factors behind": factors_behind(placed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", nargs="+", default=["512x1024", "1024x2048"])
    parser.add_argument("--target", default="sm_89")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    import tensorrt_rtx
    import torch

    console = Console()
    network = random_network(DEPTH, arguments.seed)
    with console.status("scales"):
        small = exported(network, plan_geometry(CALIBRATION_HW), torch.float32)
        scales = find_scales(small, Scenes(arguments.seed), "max")
    table = Table("size", "", "activations MiB", "read and written MiB", "kernels", "convolutions")
    measured: dict[str, dict[str, Any]] = {}
    for size in arguments.size:
        geometry = plan_geometry(parse_size(size, "--size"))
        bodies = native_functions(operator_sizes(network.config, geometry))
        measured[size] = {}
        for name, model in variants(exported(network, geometry, torch.float16), scales).items():
            with console.status(f"{size} {name}"):
                row = examine(with_bodies(model.SerializeToString(), bodies, NAMESPACE), arguments.target)
            is_int8 = name.startswith("INT8")
            row["conv_mac_share_int8"] = measure_coverage(model).share if is_int8 else 0.0
            measured[size][name] = row
            memory, moved = (f"{row[key] / 2**20:.1f}" for key in ("activation_memory_bytes", "moved_bytes"))
            types = ", ".join(f"{count} {kind}" for kind, count in row["convolutions"].items())
            table.add_row(size, name, memory, moved, str(row["kernels"]), types)
    console.print(table)
    write_json(
        arguments.output,
        {
            "machine": describe_machine(),
            "library": f"tensorrt-rtx {tensorrt_rtx.__version__}",
            "target": arguments.target,
            "network": f"R-{DEPTH}",
            "attention": "native",
            "seed": arguments.seed,
            "sizes": measured,
        },
    )
    console.print(f"written to {arguments.output}")


if __name__ == "__main__":
    main()
