"""The comparison's figures against Polygraphy's run of the same files and the training package's metric."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from polygraphy.backend.onnx import BytesFromOnnx, OnnxFromBytes
from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
from polygraphy.comparator import Comparator, SimpleCompareFunc

from danet_export.frames import pattern
from danet_runtime.bundle import Bundle, Variant, write_bundle
from danet_runtime.comparison.comparison import Side, compare
from danet_runtime.sources.protocol.source import FrameInfo
from danet_train.evaluation.metrics import ConfusionMatrix


class Patterns:
    fps = None
    size_hw = (64, 128)
    live = False
    count = 4

    def __init__(self):
        self.frames = [pattern(self.size_hw, seed) for seed in range(10, 10 + self.count)]
        self._read = 0

    def read_into(self, buffer):
        if self._read == self.count:
            return None
        np.copyto(buffer, self.frames[self._read])
        self._read += 1
        return FrameInfo(self._read - 1, 0)

    def describe(self):
        return {"path": "patterns"}

    def close(self):
        pass


@pytest.fixture(scope="module")
def coarse_bundle(exported_bundle, tmp_path_factory):
    """The exported bundle with an int8 variant whose weights are rounded coarsely, so that labels differ."""
    source = Bundle.open(exported_bundle)
    model = onnx.load_from_string(source.read(source.variant("fp32").file))
    for tensor in model.graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if weights.ndim == 4:
            step = np.abs(weights).max() / 12
            tensor.CopyFrom(numpy_helper.from_array(np.round(weights / step) * step, tensor.name))
    path = tmp_path_factory.mktemp("coarse") / "bundle"
    with write_bundle(path) as writer:
        for ref in source.manifest.files():
            writer.copy(source, ref)
        file = writer.add("model.int8.onnx", model.SerializeToString())
        int8 = Variant(file=file, opset=source.variant("fp32").opset)
        variants = {**source.manifest.variants, "int8": int8}
        writer.finish(source.manifest.model_copy(update={"variants": variants}))
    return Bundle.open(path)


@pytest.mark.parametrize("other", ["fp16", "int8"])
def test_agreement_and_iou_are_those_of_polygraphys_outputs(coarse_bundle, other):
    source = Patterns()
    found = compare(coarse_bundle, (Side("onnxruntime", "fp32"), Side("onnxruntime", other)), source).labels

    runners = [
        OnnxrtRunner(
            SessionFromOnnx(
                BytesFromOnnx(OnnxFromBytes(coarse_bundle.read(coarse_bundle.variant(name).file)))
            ),
            name=name,
        )
        for name in ("fp32", other)
    ]
    results = Comparator.run(runners, data_loader=[{"frame": frame[None]} for frame in source.frames])
    matrix = ConfusionMatrix(len(coarse_bundle.manifest.classes))
    equal = []
    for one, two in zip(results["fp32"], results[other], strict=True):
        matrix.update(two["labels"], one["labels"])
        equal.append(np.mean(one["labels"] == two["labels"]))

    assert found.agreement == pytest.approx(np.mean(equal), abs=1e-12)
    assert [entry["agreement"] for entry in found.to_dict()["per_frame"]] == pytest.approx(equal)
    ours = [value if value is not None else np.nan for value in found.iou().values()]
    assert ours == pytest.approx(matrix.iou(), nan_ok=True)
    with np.errstate(divide="ignore", invalid="ignore"):  # it takes labels for numbers and divides by them
        same = Comparator.compare_accuracy(results, compare_func=SimpleCompareFunc(atol=0, rtol=0))
    assert bool(same) == (found.agreement == 1.0)
    if other == "int8":
        assert 0.3 < found.agreement < 0.999
