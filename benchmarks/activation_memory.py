"""Activation memory of the whole DANet by the builder of TensorRT for RTX: lowerings, and each part's share.

Needs no GPU. Weights are random: they do not change the memory.

python benchmarks/activation_memory.py [--depth 50 101] [--size 1024x2048] [--target sm_89]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import parser as onnx_parser
from rich.console import Console
from rich.table import Table

from danet_export import attention_ops as ops
from danet_export.geometry import Geometry, plan_geometry
from danet_export.native_bodies import NativeShapes, native_functions
from danet_export.onnx_model import to_onnx
from danet_export.wrapper import ExportedDANet
from danet_runtime.commands.arguments import parse_size
from danet_runtime.files import write_json
from danet_runtime.tensorrt.onnx_file import with_bodies
from danet_runtime.tensorrt.rtx_builder import build_engine
from danet_train.model.danet import build_model
from danet_train.normalisation import Normalisation

RESULTS = Path(__file__).parent / "results" / "activation_memory.json"

# The labels of the small logits, enlarged: what the graph takes without storing upsampled logits.
ARGMAX_FIRST = """<domain: "danet", opset_import: ["" : 23]>
UpsampleArgmax <height, width, align_corners, plugin_namespace, plugin_version> (danet_ua_x) => (danet_ua_y)
{{
  danet_ua_index = ArgMax <axis = 1, keepdims = 1> (danet_ua_x)
  danet_ua_small = CastLike (danet_ua_index, danet_ua_x)
  danet_ua_size = Constant <value_ints = [1, 1, {height}, {width}]> ()
  danet_ua_up = Resize <mode = "nearest"> (danet_ua_small, , , danet_ua_size)
  danet_ua_axis = Constant <value_ints = [1]> ()
  danet_ua_y = Squeeze (danet_ua_up, danet_ua_axis)
}}"""


def exported(depth: int, geometry: Geometry, **parts: bool) -> tuple[bytes, bytes]:
    """The FP16 model with its reference bodies, and its native bodies."""
    network = build_model(depth, aux_channels=0, **parts).eval()
    statistics = Normalisation()
    wrapper = ExportedDANet(network, geometry, statistics.mean, statistics.std, torch.float16)
    bodies = native_functions(NativeShapes.of_network(network.config, geometry))
    return to_onnx(wrapper, geometry).SerializeToString(), bodies


def argmax_first(bodies: bytes, size_hw: tuple[int, int]) -> bytes:
    """The same bodies, but the argmax comes before the enlargement."""
    model = onnx.load_from_string(bodies)
    text = ARGMAX_FIRST.format(height=size_hw[0], width=size_hw[1])
    kept = [body for body in model.functions if body.name != ops.UPSAMPLE_ARGMAX]
    del model.functions[:]
    model.functions.extend([*kept, onnx_parser.parse_function(text)])
    content: bytes = model.SerializeToString()
    return content


def measure(depth: int, geometry: Geometry, target: str) -> dict[str, int]:
    """Bytes of activations of each form of one network."""
    model, bodies = exported(depth, geometry)
    forms = {
        "reference": model,
        "native": with_bodies(model, bodies, ops.DOMAIN),
        "native, argmax before upsampling": with_bodies(
            model, argmax_first(bodies, geometry.frame_hw), ops.DOMAIN
        ),
    }
    for name, parts in {
        "native, without PAM": {"pam": False},
        "native, without CAM": {"cam": False},
        "native, without both (FCN)": {"pam": False, "cam": False},
    }.items():
        forms[name] = with_bodies(*exported(depth, geometry, **parts), ops.DOMAIN)
    figures = {}
    for name, form in forms.items():
        memory = build_engine(form, [target]).activation_memory_bytes
        if memory is None:
            raise SystemExit("the builder's log does not tell the activation memory")
        figures[name] = memory
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, nargs="+", default=[50, 101])
    parser.add_argument("--size", default="1024x2048")
    parser.add_argument("--target", default="sm_89")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    import tensorrt_rtx

    geometry = plan_geometry(parse_size(arguments.size, "--size"))
    console = Console()
    table = Table("FP16, MiB", *(f"R-{depth}" for depth in arguments.depth))
    measured: dict[str, Any] = {}
    for depth in arguments.depth:
        with console.status(f"R-{depth}"):
            measured[f"R-{depth}"] = measure(depth, geometry, arguments.target)
    for form in next(iter(measured.values())):
        table.add_row(form, *(f"{figures[form] / 2**20:.1f}" for figures in measured.values()))
    console.print(table)
    write_json(
        arguments.output,
        {
            "library": f"tensorrt-rtx {tensorrt_rtx.__version__}",
            "target": arguments.target,
            "size": arguments.size,
            "precision": "fp16",
            "activation_memory_bytes": measured,
        },
    )
    console.print(f"written to {arguments.output}")


if __name__ == "__main__":
    main()
