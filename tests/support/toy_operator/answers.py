"""Uses the toy operator as every operator is used, from the export to the choice of its kernel: JSON.

python answers.py CHECKPOINT FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import torch

import danet_export
import danet_runtime
from danet_export.frames import pattern
from danet_export.graph.geometry import plan_geometry
from danet_export.graph.parity import run_labels
from danet_export.graph.wrapper import operator_sizes
from danet_export.kernels.architectures import KernelRequest, find_architectures
from danet_export.kernels.bundle_kernels import write_kernels
from danet_export.ops.catalogue import code_of
from danet_export.ops.execution import plain_ops
from danet_export.pipeline import export_bundle
from danet_runtime.bundle import Bundle, BundleWriter
from danet_runtime.bundle.operators import NAMESPACE, OPERATORS
from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.kernels.shape_check import check_shapes
from danet_runtime.tensorrt.plugins.onnx_file import function_names, with_bodies
from danet_runtime.tensorrt.plugins.registration import model_for, operators_of
from danet_train.checkpoint import read_checkpoint


def main() -> None:
    checkpoint, folder = read_checkpoint(Path(sys.argv[1])), Path(sys.argv[2])
    geometry = plan_geometry((64, 128))
    frames = [pattern((64, 128), seed) for seed in range(2)]
    export_bundle(checkpoint, checkpoint.classes, geometry, lambda _: frames, folder / "bundle")
    bundle = Bundle.open(folder / "bundle")
    exported = bundle.read(bundle.variant("fp32").file)
    native = with_bodies(exported, bundle.read(bundle.manifest.lowerings.native), NAMESPACE)
    parity = json.loads(bundle.read(bundle.manifest.reports["parity"]))

    sizes = operator_sizes(checkpoint.model.config, geometry)
    request = KernelRequest(find_architectures(["sm_87"], "fp16"), "fp16")
    writer = BundleWriter(folder / "kernels")
    kernels = list(write_kernels(request, {"Halve": sizes["Halve"]}, writer, lambda _: None))
    logits = (1, 19, *geometry.content_logits_hw)
    for kernel in kernels:
        check_shapes(kernel, [logits], {})
    try:
        check_shapes(kernels[0], [(1, 19, 9, 9)], {})
        refused = ""
    except BackendError as error:
        refused = str(error)

    spec = OPERATORS["Halve"]
    code = code_of("Halve")
    with plain_ops():
        halved = torch.ops.danet.halve(torch.ones(1, 1, 1, 2, dtype=torch.float16))
    answers = {
        "packages": [danet_runtime.__file__, danet_export.__file__],
        "labels": [run_labels(onnx.load_from_string(m), frames[:1])[0].tolist() for m in (exported, native)],
        "nodes": [node.name for node in onnx.load_from_string(exported).graph.node],
        "functions": [name for name, _ in function_names(exported)],
        "operators": operators_of(model_for("10.9.0", exported)),
        "compared": [[row["precision"], row["operator"], row["error"]] for row in parity["operators"]],
        "kernels": [[kernel.operator, kernel.variant, kernel.entry] for kernel in kernels],
        "refused": refused,
        "golden": [spec.error(code.reference(c.inputs, c.attributes), c.output) for c in spec.golden],
        "torch": np.asarray(halved).ravel().tolist(),
    }
    print(json.dumps(answers))


main()
