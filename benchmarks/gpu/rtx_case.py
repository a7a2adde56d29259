"""One network through TensorRT for RTX on the GPU at hand, in a process that may die: JSON on the last line.

python -m benchmarks.gpu.rtx_case NETWORK SIZE PRECISION ROUNDS [BUNDLE]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.measurement import Timing, time_side_by_side
from danet_export.graph.geometry import Geometry, plan_geometry
from danet_export.graph.native_bodies import native_functions
from danet_export.graph.onnx_model import to_onnx
from danet_export.graph.wrapper import ExportedDANet, operator_sizes
from danet_runtime.bundle import Bundle
from danet_runtime.bundle.manifest import Precision
from danet_runtime.bundle.operators import NAMESPACE
from danet_runtime.cli.options.arguments import parse_size
from danet_runtime.dependencies import TENSORRT_RTX, require
from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.build.builder import BuiltEngine, NetworkSetup, build_plan
from danet_runtime.tensorrt.build.library import library_of
from danet_runtime.tensorrt.plugins.lowering import lowered_model
from danet_runtime.tensorrt.plugins.onnx_file import with_bodies
from danet_train.config.sections import Normalisation
from danet_train.model.danet import build_model


def native_model(depth: int, geometry: Geometry) -> bytes:
    """An FP16 model with random weights, its attention as TensorRT fuses it."""
    network = build_model(depth, aux_channels=0).eval()
    statistics = Normalisation()
    wrapper = ExportedDANet(network, geometry, statistics.mean, statistics.std, torch.float16)
    bodies = native_functions(operator_sizes(network.config, geometry))
    return with_bodies(to_onnx(wrapper, geometry).SerializeToString(), bodies, NAMESPACE)


def build_for_this_gpu(model: bytes) -> BuiltEngine:
    """An engine for the GPU at hand, also where it is none of those that can be named ahead of time."""
    trt = require(TENSORRT_RTX)

    def configure(config: Any) -> None:  # noqa: ANN401 - a class known at run time
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.CURRENT, 0)

    return build_plan(library_of(trt), model, NetworkSetup(configure=configure))


def run(plan: bytes, size_hw: tuple[int, int], rounds: int) -> Timing:
    """Time of one inference, frame (1, H, W, 3) and labels (1, H, W) on the GPU."""
    trt = require(TENSORRT_RTX)
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise BackendError("TensorRT for RTX does not load its own engine on this GPU")
    context = engine.create_execution_context()
    frame = torch.randint(0, 256, (1, *size_hw, 3), dtype=torch.uint8, device="cuda")
    labels = torch.empty((1, *size_hw), dtype=torch.uint8, device="cuda")
    context.set_tensor_address("frame", frame.data_ptr())
    context.set_tensor_address("labels", labels.data_ptr())

    def infer() -> torch.Tensor:
        if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise BackendError("TensorRT for RTX failed to enqueue")
        return labels

    # Not the default stream, on which TensorRT synchronises.
    own = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(own):
        return time_side_by_side({"rtx": infer}, rounds)["rtx"]


def main(network: str, size: str, precision: Precision, rounds: int, bundle: str | None = None) -> None:
    """Build and time one case; what was learnt before a failure is printed too."""
    library = library_of(require(TENSORRT_RTX))
    row: dict[str, Any] = {"library": library.title, "stage": "export"}
    size_hw = parse_size(size, "SIZE")
    if bundle is None:
        model = native_model(int(network.removeprefix("R-")), plan_geometry(size_hw))
    else:
        model = lowered_model(library, Bundle.open(Path(bundle)), precision, "native")
    print(json.dumps(row | {"stage": "build"}), flush=True)
    built = build_for_this_gpu(model)
    row |= {"engine_bytes": len(built.plan), "activation_memory_bytes": built.activation_memory_bytes}
    print(json.dumps(row | {"stage": "run"}), flush=True)
    print(json.dumps(row | {"stage": "done"} | run(built.plan, size_hw, rounds).row()), flush=True)


if __name__ == "__main__":
    name, wanted_size, wanted_precision, wanted_rounds, *folder = sys.argv[1:]
    main(name, wanted_size, wanted_precision, int(wanted_rounds), *folder)  # type: ignore[arg-type]
