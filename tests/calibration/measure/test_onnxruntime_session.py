"""ONNX Runtime computes what the file says: no optimiser may change the labels of a variant."""

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from danet_calibration.images.images import FrameReader, choose_images
from danet_calibration.int8.placement import quantise
from danet_calibration.int8.ranges.placement_rules import find_placement
from danet_calibration.int8.ranges.ranges import collect_ranges
from danet_runtime.backends import onnxruntime_session
from danet_runtime.backends.onnxruntime_session import open_session
from danet_train.synthetic.dataset import Scenes, synthesize_dataset

SIZE_HW = (64, 128)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes") / "set"
    synthesize_dataset(root, Scenes(train=12, val=4, video_frames=0, size_hw=SIZE_HW, seed=3), workers=1)
    return root


@pytest.fixture(scope="module")
def variants(balanced_bundle, scenes):
    """FP16 and INT8 of a network with channels that hardly depend on the picture, as training leaves them.

    Their weights are small beside their bias, so that the bias is beyond 65504 steps of INT32.
    """
    files = {}
    for precision in ("fp32", "fp16"):
        model = onnx.load_from_string(balanced_bundle.read(balanced_bundle.variant(precision).file))
        held = {tensor.name: tensor for tensor in model.graph.initializer}
        for conv in model.graph.node:
            if conv.op_type != "Conv" or "layer4" not in conv.input[1] or len(conv.input) < 3:
                continue
            weight, bias = (numpy_helper.to_array(held[name]).copy() for name in conv.input[1:3])
            weight[::8] *= 2.0**-7
            bias[::8] = np.abs(bias[::8]) + 1
            held[conv.input[1]].CopyFrom(numpy_helper.from_array(weight, conv.input[1]))
            held[conv.input[2]].CopyFrom(numpy_helper.from_array(bias, conv.input[2]))
        files[precision] = model.SerializeToString()
    images = choose_images(scenes, 8)
    placement = find_placement(files["fp32"], FrameReader(images, SIZE_HW))
    ranges = collect_ranges(files["fp32"], FrameReader(images, SIZE_HW), placement, [8])
    files["int8"] = quantise(files["fp16"], ranges.inputs("max")).SerializeToString()
    return files


@pytest.fixture(scope="module")
def frames(scenes):
    files = sorted(scenes.glob("leftImg8bit/val/*/*.png"))
    return [cv2.imread(str(file))[None] for file in files]


def labels_of(session, frames):
    return np.stack([session.run(["labels"], {"frame": frame})[0] for frame in frames])


def as_the_file_says(model, frames):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return labels_of(session, frames)


def overflowing_biases(model):
    """Count the biases that are infinite in FP16 when they are measured in steps of their convolution."""
    graph = onnx.load_from_string(model).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    overflowing = 0
    for conv in (node for node in graph.node if node.op_type == "Conv" and len(node.input) > 2):
        pair = [makers.get(name) for name in conv.input[:2]]
        if all(node is not None and node.op_type == "DequantizeLinear" for node in pair):
            scales = [values[node.input[1]].astype(np.float16) for node in pair]
            with np.errstate(over="ignore", divide="ignore"):
                overflowing += int(
                    np.isinf(values[conv.input[2]].astype(np.float16) / (scales[0] * scales[1])).sum()
                )
    return overflowing


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_session_gives_the_labels_of_the_graph_as_it_stands_in_the_file(variants, frames, precision):
    if precision == "int8":
        assert overflowing_biases(variants["int8"]) > 8
    expected = as_the_file_says(variants[precision], frames)
    assert len(np.unique(expected)) > 1
    agreement = (labels_of(open_session(variants[precision]), frames) == expected).mean()
    # Of a random network more labels hang on rounding than of a trained one.
    assert agreement > 0.995, f"{agreement:.3%} of the labels"


def test_an_optimiser_that_this_version_does_not_have_is_no_error(variants, monkeypatch):
    monkeypatch.setattr(
        onnxruntime_session, "NOT_OF_THE_FILE", ("WeightBiasQuantization", "OfAnotherVersion")
    )
    assert open_session(variants["int8"]).get_outputs()
