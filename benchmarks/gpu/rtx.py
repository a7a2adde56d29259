"""What TensorRT for RTX does with a model on the GPU at hand, whatever it is: time, memory, or its error.

python benchmarks/gpu/rtx.py [--depth 50] [--size 512x1024 1024x2048] [--rounds 20]
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch
from measurement import record, time_side_by_side

from danet_export.attention_ops import DOMAIN
from danet_export.geometry import Geometry, plan_geometry
from danet_export.native_bodies import NativeShapes, native_functions
from danet_export.onnx_model import to_onnx
from danet_export.wrapper import ExportedDANet
from danet_runtime.commands.arguments import parse_size
from danet_runtime.errors import DanetError
from danet_runtime.tensorrt.onnx_file import with_bodies
from danet_runtime.tensorrt.rtx_builder import build_engine
from danet_train.model.danet import build_model
from danet_train.normalisation import Normalisation


def native_model(depth: int, geometry: Geometry) -> bytes:
    """An FP16 model with random weights, its attention as TensorRT fuses it."""
    network = build_model(depth, aux_channels=0).eval()
    statistics = Normalisation()
    wrapper = ExportedDANet(network, geometry, statistics.mean, statistics.std, torch.float16)
    bodies = native_functions(NativeShapes.of_network(network.config, geometry))
    return with_bodies(to_onnx(wrapper, geometry).SerializeToString(), bodies, DOMAIN)


def run(plan: bytes, geometry: Geometry, rounds: int) -> float:
    """Median milliseconds of one inference, frame and labels on the GPU."""
    import tensorrt_rtx as trt

    logger = trt.Logger(trt.Logger.ERROR)
    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise DanetError("TensorRT for RTX does not load its own engine on this GPU")
    context = engine.create_execution_context()
    frame = torch.zeros((1, *geometry.frame_hw, 3), dtype=torch.uint8, device="cuda")
    labels = torch.empty((1, *geometry.frame_hw), dtype=torch.uint8, device="cuda")
    context.set_tensor_address("frame", frame.data_ptr())
    context.set_tensor_address("labels", labels.data_ptr())
    stream = torch.cuda.Stream()

    def infer() -> torch.Tensor:
        if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise DanetError("TensorRT for RTX failed to enqueue")
        return labels

    with torch.cuda.stream(stream):  # not the default stream, on which TensorRT synchronises
        return time_side_by_side({"rtx": infer}, rounds)["rtx"]


def measure(depth: int, size: str, arch: str, rounds: int) -> dict[str, Any]:
    """What came of one network at one size."""
    geometry = plan_geometry(parse_size(size, "--size"))
    row: dict[str, Any] = {"network": f"R-{depth}", "size": size, "arch": arch}
    try:
        built = build_engine(native_model(depth, geometry), [arch])
        row |= {"engine_bytes": len(built.plan), "activation_memory_bytes": built.activation_memory_bytes}
        row["milliseconds"] = run(built.plan, geometry, rounds)
    except DanetError as error:
        row["error"] = str(error)
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, nargs="+", default=[50])
    parser.add_argument("--size", nargs="+", default=["512x1024", "1024x2048"])
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("skipped: no CUDA GPU here (torch.cuda.is_available() is false); nothing was measured")
        return 0
    major, minor = torch.cuda.get_device_capability()
    rows = [
        measure(depth, size, f"sm_{major}{minor}", arguments.rounds)
        for depth in arguments.depth
        for size in arguments.size
    ]
    for row in rows:
        print(row)
    print(f"written to {record('tensorrt_rtx_native_fp16', {'measurements': rows})}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
