"""Building on the device as far as TensorRT's builder, over the recording driver: JSON of what it got.

python device_build_answers.py BUNDLE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import tensorrt_bindings as trt

sys.modules["tensorrt"] = trt

from danet_runtime.bundle import Bundle  # noqa: E402
from danet_runtime.errors import DanetError  # noqa: E402
from danet_runtime.tensorrt import engine_build  # noqa: E402
from danet_runtime.tensorrt.build.builder import BuiltEngine, NetworkSetup  # noqa: E402
from danet_runtime.tensorrt.cuda.driver import cuda_driver  # noqa: E402


class Registry:
    """Stands in for TensorRT's own, which is in the library and not in the bindings."""

    def __init__(self) -> None:
        self.creators: dict[str, object] = {}

    def register_creator(self, creator: object, plugin_namespace: str = "") -> bool:
        return self.creators.setdefault(f"{plugin_namespace}::{creator.name}", creator) is creator

    def get_creator(self, name: str, _version: str, plugin_namespace: str = "") -> object:
        return self.creators[f"{plugin_namespace}::{name}"]


def main(bundle: Path) -> dict[str, object]:
    registry = Registry()
    trt.get_plugin_registry = lambda: registry
    got: dict[str, object] = {}

    def build_plan(
        library: object, model: bytes, setup: NetworkSetup, *_: object, **__: object
    ) -> BuiltEngine:
        got.update(library=library.title, model_bytes=len(model), flags=setup.flags)
        got.update(workspace_bytes=setup.workspace_bytes)
        return BuiltEngine(b"plan", None, None, 1, 0.0, trt.__version__)

    engine_build.build_plan = build_plan
    engine_build.free_memory_bytes = lambda: 10 << 30
    try:
        cuda_driver().architecture()
    except DanetError as error:
        got["without_a_context"] = str(error)
    try:
        planned = engine_build.plan_build(Bundle.open(bundle), "fp16", "tensorrt").first
        built = planned.build(bundle / "engines")
    except DanetError as error:
        return got | {"refused": str(error)}
    return got | {
        "plan": built.plan.decode(),
        "attention": planned.lowering.attention,
        "arch": planned.request.targets[0],
        "gpu": str(planned.request.gpu),
        "runs_here": planned.runs_here,
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
