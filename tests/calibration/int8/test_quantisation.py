"""The INT8 file that is made from a bundle's FP32 file: its quantised inputs, the others, and its results."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper

from danet_calibration.errors import CalibrationError, GateError
from danet_calibration.images.images import FrameReader, choose_images
from danet_calibration.int8.coverage import measure_coverage, require_coverage
from danet_calibration.int8.placement import quantise
from danet_calibration.int8.ranges.scales import find_scales
from danet_export.frames import pattern
from danet_runtime.bundle import Bundle
from danet_train.checkpoint import load_checkpoint

pytestmark = pytest.mark.slow  # processes, or whole exports, by the dozen


@pytest.fixture(scope="module")
def bundle(exported_bundle):
    return Bundle.open(exported_bundle)


def read(bundle, precision):
    return bundle.read(bundle.variant(precision).file)


@pytest.fixture(scope="module")
def scales(bundle, image_folder):
    return find_scales(read(bundle, "fp32"), FrameReader(choose_images(image_folder, 8), (64, 128)), "max")


@pytest.fixture(scope="module")
def int8(bundle, scales):
    return quantise(read(bundle, "fp16"), scales)


def producers(model):
    return {name: node for node in model.graph.node for name in node.output}


def test_every_convolution_of_some_width_runs_on_int8_and_the_share_says_so(int8):
    coverage = measure_coverage(int8)
    dims = {tensor.name: tensor.dims for tensor in int8.graph.initializer}
    floating = [node for node in int8.graph.node if node.name in coverage.float_convolutions]
    # modelopt leaves convolutions of under 16 channels in floating point: they gain nothing from INT8.
    assert all(min(dims[node.input[1]][:2]) < 16 for node in floating)
    assert 0.9 < coverage.share < 1.0
    assert coverage.quantize_nodes > 20


def test_macs_are_those_that_pytorch_computes(bundle, checkpoint_file):
    total = 0

    def count(module, _inputs, output):
        nonlocal total
        total += output.numel() * module.weight[0].numel()

    network = load_checkpoint(checkpoint_file)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.zeros(1, 3, 64, 128))
    assert measure_coverage(onnx.load_from_string(read(bundle, "fp16"))).total_macs == total


def test_the_attention_nodes_stay_custom_and_read_what_they_read_before(bundle, int8):
    before = {
        n.name: n for n in onnx.load_from_string(read(bundle, "fp16")).graph.node if n.domain == "danet"
    }
    after = {n.name: n for n in int8.graph.node if n.domain == "danet"}
    assert set(after) == {"position_attention", "channel_energy", "upsample_argmax"}
    for name, node in after.items():
        assert list(node.input) == list(before[name].input)
    assert {body.name for body in int8.functions} == {
        "PositionAttention",
        "ChannelEnergy",
        "UpsampleArgmax",
    }


def test_the_application_of_the_channel_attention_stays_in_floating_point(int8):
    by_output = producers(int8)
    application = [node for node in int8.graph.node if node.name.startswith("channel_attention_")]
    assert {"Neg", "Softmax", "MatMul", "Add"} <= {node.op_type for node in application}
    for node in application:
        sources = [by_output[name].op_type for name in node.input if name in by_output]
        assert not {"QuantizeLinear", "DequantizeLinear"}.intersection(sources)


def test_nothing_behind_the_classifier_is_quantised(int8):
    upsample = next(node for node in int8.graph.node if node.op_type == "UpsampleArgmax")
    assert producers(int8)[upsample.input[0]].op_type == "Conv"
    last = max(i for i, node in enumerate(int8.graph.node) if node.op_type in ("Conv", "QuantizeLinear"))
    assert int8.graph.node[last].op_type == "Conv"


def test_weights_are_int8_with_one_scale_a_channel_and_activations_with_one(int8):
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in int8.graph.initializer}
    by_output = producers(int8)
    quantised = 0
    for node in int8.graph.node:
        if node.op_type != "Conv" or node.input[1] not in by_output:
            continue
        activation, weight = (by_output[name] for name in node.input[:2])
        quantised += 1
        assert constants[weight.input[0]].dtype == np.int8
        assert constants[weight.input[1]].shape == (constants[weight.input[0]].shape[0],)
        assert constants[activation.input[1]].shape == ()
        assert constants[activation.input[1]] > 0
        assert not constants[weight.input[2]].any()
        assert not constants[activation.input[2]].any()
    assert quantised > 15


def test_no_pair_stands_between_a_convolution_and_its_relu(int8):
    by_output = producers(int8)
    relus = [node for node in int8.graph.node if node.op_type == "Relu"]
    assert not any(by_output[node.input[0]].op_type == "DequantizeLinear" for node in relus)


def test_the_int8_file_gives_nearly_the_labels_of_the_fp32_file(bundle, int8):
    sessions = [
        onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        for data in (read(bundle, "fp32"), int8.SerializeToString())
    ]
    frames = [pattern((64, 128), seed)[None] for seed in range(100, 104)]
    one, other = (np.concatenate([s.run(None, {"frame": f})[0] for f in frames]) for s in sessions)
    assert (one == other).mean() > 0.9
    assert len(np.unique(one)) >= 3


def test_the_int8_file_keeps_the_metadata_of_the_exported_one(bundle, int8):
    exported = onnx.load_from_string(read(bundle, "fp16"))
    assert len(exported.metadata_props) > 5
    assert int8.metadata_props == exported.metadata_props


def test_too_little_int8_is_refused(bundle, scales):
    few = [item for item in scales if "layer4" not in item.node][: len(scales) // 4]
    coverage = measure_coverage(quantise(read(bundle, "fp16"), few))
    assert coverage.share < 0.8
    with pytest.raises(GateError, match="of the convolution MACs"):
        require_coverage(coverage)
    untouched = measure_coverage(onnx.load_from_string(read(bundle, "fp16")))
    assert untouched.share == 0.0


def test_a_model_that_is_quantised_already_is_refused(int8, image_folder):
    with pytest.raises(CalibrationError, match="Q/DQ nodes already"):
        find_scales(int8.SerializeToString(), FrameReader(choose_images(image_folder, 2), (64, 128)), "max")


def test_scales_for_a_node_that_is_not_there_are_refused(bundle, scales):
    model = onnx.load_from_string(read(bundle, "fp16"))
    names = {item.node for item in scales}
    renamed = next(node for node in model.graph.node if node.name in names)
    renamed.name = "another"
    with pytest.raises(CalibrationError, match="lacks the nodes"):
        quantise(model.SerializeToString(), scales)


def test_a_tiny_scale_survives_fp16(bundle, scales):
    model = quantise(
        read(bundle, "fp16"), [item.__class__(item.node, item.position, item.scale * 1e-9) for item in scales]
    )
    for tensor in model.graph.initializer:
        if tensor.name.endswith("_scale"):
            assert (numpy_helper.to_array(tensor) > 0).all()


def test_coverage_of_a_model_without_convolutions_is_an_error():
    graph = helper.make_graph([], "empty", [], [])
    with pytest.raises(CalibrationError, match="no convolution"):
        measure_coverage(helper.make_model(graph))
