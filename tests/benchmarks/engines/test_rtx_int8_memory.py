"""Why INT8 engines take more memory: the log is read right, values are kept, and the finding holds."""

import json

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.engines import rtx_int8_memory as study
from benchmarks.engines import rtx_layers


def tensor(name, dtype, *shape):
    sides = ",".join(map(str, shape))
    return f"{{ Name: {name}, Dimensions: [{sides}], Strides: [1], Datatype: {dtype}, Format: (Linear) }}"


def layer(name, kind, inputs, outputs, constants=()):
    held = ", ".join(constants)
    return (
        f"Name: {name}, LayerType: {kind}, Inputs: [ {', '.join(inputs)}], Constants: [ {held}], "
        f"Outputs: [ {', '.join(outputs)}], TacticName: stub, StreamId: 0, Metadata: [ONNX Layer: {name}]"
    )


FRAME, SUM = tensor("frame", "UInt8", 8), tensor("sum", "Float", 4)
FIRST, SECOND = tensor("first", "Half", 100), tensor("second", "Int8", 1, 300)
WEIGHT = tensor("weight", "Float", 9, 9)
MESSAGES = [
    "Engine Layer Information:\n" + layer("quantise", "kgen", [FRAME], [FIRST], [WEIGHT]),
    layer("conv", "correlation", [FIRST], [SECOND], [WEIGHT, WEIGHT]),
    layer("last", "kgen", [SECOND], [SUM]),
    "Total Activation Memory: 500 bytes",
]


def test_layers_are_read_with_their_tensors_and_without_their_weights():
    first, conv, last = rtx_layers.read_layers(MESSAGES)
    assert [first.name, conv.name, last.name] == ["quantise", "conv", "last"]
    assert conv.inputs == (rtx_layers.Tensor("first", "Half", (100,)),)
    assert [item.bytes for item in (*conv.inputs, *conv.outputs)] == [200, 300]
    assert rtx_layers.convolution_types([first, conv, last]) == {"Half to Int8": 1}
    assert rtx_layers.moved_bytes([first, conv, last]) == 8 + 200 + 200 + 300 + 300 + 16
    assert rtx_layers.activation_memory_bytes(MESSAGES) == 500


def test_the_peak_is_where_what_was_made_and_is_still_read_is_the_most():
    peak = rtx_layers.find_peak(rtx_layers.read_layers(MESSAGES))
    assert (peak.layer, peak.bytes) == ("conv", 500)
    assert [item.name for item in peak.tensors] == ["second", "first"]


def test_a_log_without_layers_or_with_a_new_type_is_refused():
    with pytest.raises(ValueError, match="profiling_verbosity"):
        rtx_layers.read_layers(["Total Activation Memory: 500 bytes"])
    with pytest.raises(ValueError, match="got FP4"):
        rtx_layers.read_layers([layer("conv", "correlation", [tensor("x", "FP4", 2)], [SUM])])
    with pytest.raises(ValueError, match="Total Activation Memory"):
        rtx_layers.activation_memory_bytes(["nothing"])


def quantised_convolution(with_bias):
    rng = np.random.default_rng(0)
    constants = {
        "x_scale": np.float32(0.02),
        "zero": np.int8(0),
        "weight": rng.integers(-127, 128, (8, 4, 3, 3)).astype(np.int8),
        "weight_scale": np.exp(rng.uniform(-8, -2, 8)).astype(np.float32),
        "zeros": np.zeros(8, np.int8),
        "bias": rng.normal(size=8).astype(np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["frame", "x_scale", "zero"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "x_scale", "zero"], ["x"], name="dq"),
        helper.make_node("DequantizeLinear", ["weight", "weight_scale", "zeros"], ["w"], name="dqw", axis=0),
        helper.make_node("Conv", ["x", "w", *(["bias"] if with_bias else [])], ["y"], name="conv"),
        helper.make_node("Relu", ["y"], ["labels"], name="relu"),
    ]
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("frame", TensorProto.FLOAT, (1, 4, 6, 6))],
        [helper.make_tensor_value_info("labels", TensorProto.FLOAT, (1, 8, 4, 4))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def run(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    frame = np.random.default_rng(1).normal(size=(1, 4, 6, 6)).astype(np.float32)
    return session.run(None, {"frame": frame})[0]


@pytest.mark.parametrize("with_bias", [True, False])
def test_factors_behind_the_convolution_keep_what_it_computes(with_bias):
    model = quantised_convolution(with_bias)
    changed = study.factors_behind(model)
    np.testing.assert_allclose(run(changed), run(model), rtol=1e-4, atol=1e-5)
    without = study.one_scale_a_tensor(model)
    assert np.abs(run(without) - run(model)).max() > 0.1
    scales = {node.name: node.input[1] for node in changed.graph.node if node.op_type == "DequantizeLinear"}
    stored = {item.name: numpy_helper.to_array(item) for item in changed.graph.initializer}
    assert stored[scales["dqw"]].ndim == 0
    assert np.array_equal(stored["weight"], numpy_helper.to_array(model.graph.initializer[2]))


def test_the_finding_that_the_readme_tells_is_that_of_the_kept_figures():
    kept = json.loads(study.RESULTS.read_text())
    assert set(kept["sizes"]) == {"512x1024", "1024x2048"}
    for rows in kept["sizes"].values():
        memory = {name: row["activation_memory_bytes"] for name, row in rows.items()}
        assert set(rows["INT8"]["convolutions"]) == {"Int8 to Float"}
        assert rows["INT8"]["live_bytes_at_peak"] == memory["INT8"] > memory["FP16"]
        assert [item["dtype"] for item in rows["INT8"]["live_at_peak"][:2]] == ["Float", "Float"]
        assert memory["INT8 without Q/DQ at the residual sums"] > memory["INT8"]
        assert memory["INT8 without Q/DQ at the pooling"] == memory["INT8"]
        mended = rows["INT8, channel factors behind"]
        assert set(mended["convolutions"]) == {"Int8 to Half"}
        assert mended["activation_memory_bytes"] <= memory["FP16"]
        assert mended["conv_mac_share_int8"] == rows["INT8"]["conv_mac_share_int8"] > 0.8


@pytest.mark.slow
def test_the_builder_still_writes_fp32_behind_a_scale_a_channel_and_fp16_behind_one_scale():
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    torch = pytest.importorskip("torch")
    network = study.random_network(18, 0)
    small = study.exported(network, study.plan_geometry(study.CALIBRATION_HW), torch.float32)
    scales = study.find_scales(small, study.Scenes(0), "max")
    geometry = study.plan_geometry((128, 256))
    bodies = study.native_functions(study.operator_sizes(network.config, geometry))
    placed = study.quantise(study.exported(network, geometry, torch.float16), scales)
    types = []
    for made in (placed, study.factors_behind(placed)):
        row = study.examine(study.with_bodies(made.SerializeToString(), bodies, study.NAMESPACE), "sm_89")
        types.append(set(row["convolutions"]))
    assert types == [{"Int8 to Float"}, {"Int8 to Half"}]
