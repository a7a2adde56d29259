"""The exported files in tools that are not ours: Polygraphy and TensorRT for RTX."""

import numpy as np
import onnx
import pytest
import torch
from polygraphy.backend.onnx import BytesFromOnnx, OnnxFromBytes
from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx

from danet_export.frames import pattern
from danet_export.graph.geometry import plan_geometry
from danet_export.graph.onnx_model import to_onnx
from danet_export.graph.wrapper import ExportedDANet
from danet_runtime.bundle import Bundle
from danet_runtime.inference.segmenter import Segmenter
from danet_runtime.tensorrt.build.rtx_builder import build_engine
from danet_train.model.danet import build_model

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def test_polygraphy_runs_the_bundles_file_to_the_same_labels(exported_bundle):
    bundle = Bundle.open(exported_bundle)
    frame = pattern((64, 128), 7)
    data = bundle.read(bundle.variant("fp32").file)
    with OnnxrtRunner(SessionFromOnnx(BytesFromOnnx(OnnxFromBytes(data)))) as runner:
        labels = runner.infer({"frame": frame[None]})["labels"][0]
    with Segmenter(bundle, "fp32") as segmenter:
        assert np.array_equal(labels, segmenter.labels_of(frame))


@pytest.mark.slow
def test_danet_r50_at_1024x2048_in_fp16_exports_and_builds():
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    geometry = plan_geometry((1024, 2048))
    model = to_onnx(ExportedDANet(build_model(50).eval(), geometry, MEAN, STD, torch.float16), geometry)
    onnx.checker.check_model(model, full_check=True)
    built = build_engine(model.SerializeToString(), ["sm_89"])
    assert built.activation_memory_bytes > 2**28
    assert len(built.plan) > 50e6
