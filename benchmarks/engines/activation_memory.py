"""Activation memory of the whole DANet by the builder of TensorRT for RTX: lowerings, and each part's share.

Needs no GPU. Weights are random: they do not change the memory.

python -m benchmarks.engines.activation_memory [--depth 50 101] [--size HxW] [--target sm_89] [--output FILE]

The defaults go into benchmarks/results/activation_memory.json; anything else only into the file of --output.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import onnx
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.places import results_file
from danet_export.graph.geometry import Geometry, plan_geometry
from danet_export.graph.native_bodies import native_functions
from danet_export.graph.onnx_model import to_onnx
from danet_export.graph.wrapper import ExportedDANet, operator_sizes
from danet_export.ops.function_body import NATIVE_OPSET, parse_body
from danet_runtime.bundle.operators import NAMESPACE, OPERATORS
from danet_runtime.cli.options.arguments import parse_size
from danet_runtime.errors import BackendError, DanetError, UsageError
from danet_runtime.files.atomic import write_json
from danet_runtime.tensorrt.build.rtx_builder import build_engine, known_targets
from danet_runtime.tensorrt.plugins.onnx_file import with_bodies
from danet_train.config.sections import Normalisation
from danet_train.model.backbones.resnet_options import BLOCKS_PER_LAYER
from danet_train.model.config import DANetConfig
from danet_train.model.danet import build_model

DEPTHS, SIZE, TARGET = (50, 101), "1024x2048", "sm_89"
"""Depths, size and target of the committed results."""

RESULTS = results_file("activation_memory")

# The labels of the logits as they are, at stride 8.
WITHOUT_UPSAMPLING = """
  danet_ua_index = ArgMax <axis = 1, keepdims = 1> (danet_ua_x)
  danet_ua_small = CastLike (danet_ua_index, danet_ua_x)
  danet_ua_axis = Constant <value_ints = [1]> ()
  danet_ua_y = Squeeze (danet_ua_small, danet_ua_axis)
"""


# All positions at once: one copy of X in FP32 and one transposed, whole.
ONE_MATMUL = """
  danet_ce_rows = Constant <value_ints = [0, 1, CHANNELS, -1]> ()
  danet_ce_x4 = Reshape (danet_ce_x, danet_ce_rows)
  danet_ce_left = Cast <to = 1> (danet_ce_x4)
  danet_ce_right = Transpose <perm = [0, 1, 3, 2]> (danet_ce_left)
  danet_ce_y = MatMul (danet_ce_left, danet_ce_right)
"""


def exported(depth: int, geometry: Geometry, **parts: bool) -> tuple[bytes, bytes]:
    """The FP16 model with its reference bodies, and its native bodies."""
    network = build_model(depth, aux_channels=0, **parts).eval()
    statistics = Normalisation()
    wrapper = ExportedDANet(network, geometry, statistics.mean, statistics.std, torch.float16)
    bodies = native_functions(operator_sizes(network.config, geometry))
    return to_onnx(wrapper, geometry).SerializeToString(), bodies


def with_other_body(model: bytes, bodies: bytes, other: onnx.FunctionProto) -> onnx.ModelProto:
    """The model with these bodies but one, whose output has another shape."""
    bodied = onnx.load_from_string(with_bodies(model, bodies, NAMESPACE))
    kept = [function for function in bodied.functions if function.name != other.name]
    del bodied.functions[:]
    bodied.functions.extend([*kept, other])
    del bodied.graph.value_info[:]  # they tell the shapes of the operators' own outputs
    return bodied


def with_one_matmul(model: bytes, bodies: bytes, channels: int) -> bytes:
    """The model with these bodies, but CAM's energies are one MatMul over all positions."""
    statements = ONE_MATMUL.replace("CHANNELS", str(channels))
    body = parse_body(OPERATORS["ChannelEnergy"], "danet_ce", ("x",), statements, NATIVE_OPSET)
    content: bytes = with_other_body(model, bodies, body).SerializeToString()
    return content


def without_upsampling(model: bytes, bodies: bytes, geometry: Geometry) -> bytes:
    """The model with these bodies, but its labels are those of the small logits, (1, h, w)."""
    spec = OPERATORS["UpsampleArgmax"]
    body = parse_body(spec, "danet_ua", ("x",), WITHOUT_UPSAMPLING, NATIVE_OPSET)
    bodied = with_other_body(model, bodies, body)
    for axis, extent in enumerate(geometry.content_logits_hw, start=1):
        bodied.graph.output[0].type.tensor_type.shape.dim[axis].dim_value = extent
    content: bytes = bodied.SerializeToString()
    return content


def measure(depth: int, geometry: Geometry, target: str) -> dict[str, int]:
    """Bytes of activations of each form of one network."""
    model, bodies = exported(depth, geometry)
    forms = {
        "reference": model,
        "native": with_bodies(model, bodies, NAMESPACE),
        "native, CAM in one MatMul": with_one_matmul(model, bodies, DANetConfig().head_channels),
        "native, without upsampling": without_upsampling(model, bodies, geometry),
    }
    for name, parts in {
        "native, without PAM": {"pam": False},
        "native, without CAM": {"cam": False},
        "native, without both (FCN)": {"pam": False, "cam": False},
    }.items():
        forms[name] = with_bodies(*exported(depth, geometry, **parts), NAMESPACE)
    figures = {}
    for name, form in forms.items():
        memory = build_engine(form, [target]).activation_memory_bytes
        if memory is None:
            raise BackendError(f"{name}: the builder's log does not tell the activation memory")
        figures[name] = memory
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    depths = sorted(BLOCKS_PER_LAYER)
    parser.add_argument("--depth", type=int, nargs="+", choices=depths, default=list(DEPTHS))
    parser.add_argument("--size", default=SIZE)
    parser.add_argument("--target", default=TARGET)
    parser.add_argument("--output", type=Path, help="where to keep other sizes, depths and targets")
    arguments = parser.parse_args()
    geometry = plan_geometry(parse_size(arguments.size, "--size"))
    if arguments.target not in (known := known_targets()):
        raise UsageError(f"TensorRT for RTX builds for {', '.join(known)} (got {arguments.target!r})")
    import tensorrt_rtx

    output = arguments.output
    if output is None and is_whole(arguments.depth, arguments.size, arguments.target):
        output = RESULTS
    console = Console()
    table = Table("FP16, MiB", *(f"R-{depth}" for depth in arguments.depth))
    measured: dict[str, Any] = {}
    for depth in arguments.depth:
        with console.status(f"R-{depth}"):
            measured[f"R-{depth}"] = measure(depth, geometry, arguments.target)
    for form in next(iter(measured.values())):
        table.add_row(form, *(f"{figures[form] / 2**20:.1f}" for figures in measured.values()))
    console.print(table)
    if output is None:
        console.print(f"not written: {RESULTS.name} holds the defaults; give --output to keep this")
        return
    write_json(
        output,
        {
            "library": f"tensorrt-rtx {tensorrt_rtx.__version__}",
            "target": arguments.target,
            "size": arguments.size,
            "precision": "fp16",
            "activation_memory_bytes": measured,
        },
    )
    console.print(f"written to {output}")


def is_whole(depths: list[int], size: str, target: str) -> bool:
    """Whether a run makes all that the committed file holds."""
    return (tuple(sorted(set(depths))), size, target) == (DEPTHS, SIZE, TARGET)


if __name__ == "__main__":
    try:
        main()
    except DanetError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
