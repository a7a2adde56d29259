"""The native bodies compute what the reference bodies compute, in ONNX Runtime's own Attention."""

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from danet_export.graph import parity
from danet_export.graph.geometry import plan_geometry
from danet_export.graph.native_bodies import native_functions
from danet_export.graph.wrapper import operator_sizes
from danet_export.ops import channel_energy, position_attention
from danet_export.ops.operator_parity import run_body
from danet_runtime.bundle import Bundle
from danet_runtime.bundle.operators import NAMESPACE, OPERATORS, energy_slices
from danet_runtime.tensorrt.plugins.onnx_file import with_bodies
from danet_train.model.config import DANetConfig


def run(operator, inputs, attributes):
    """One node with its native body."""
    spec = OPERATORS[operator]
    sizes = spec.sizes([array.shape for array in inputs.values()], attributes)
    given = spec.node_attributes(attributes)
    node = helper.make_node(operator, list(inputs), ["y"], domain=NAMESPACE, **given)
    values = [helper.make_tensor_value_info(name, 1, array.shape) for name, array in inputs.items()]
    graph = helper.make_graph([node], operator, values, [helper.make_tensor_value_info("y", 1, None)])
    opsets = [helper.make_opsetid(NAMESPACE, 1)]
    model = onnx.load_from_string(
        helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
        + native_functions({operator: sizes})
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["y"], inputs)[0]


@pytest.mark.parametrize(("d_qk", "channels"), [(8, 32), (8, 36), (16, 16), (16, 8), (8, 64)])
def test_position_attention_with_values_of_any_width_equals_float64(d_qk, channels):
    random = np.random.default_rng(0)
    q, k = random.normal(0, 1.5, (2, 1, d_qk, 6, 9)).astype(np.float32)
    v, x = random.normal(0, 1, (2, 1, channels, 6, 9)).astype(np.float32)
    inputs = {"q": q, "k": k, "v": v, "x": x}
    got = run("PositionAttention", inputs, {})
    expected = position_attention.reference(inputs, {})
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < 1e-5


@pytest.mark.parametrize("hw", [(20, 30), (97, 97), (32, 64)])
def test_channel_energies_come_in_the_same_slices_as_from_the_reference_body(hw):
    x = np.random.default_rng(0).normal(0, 1, (1, 12, *hw)).astype(np.float32)
    attributes = {"slices": energy_slices(hw[0] * hw[1])}
    got = run("ChannelEnergy", {"x": x}, attributes)
    given = OPERATORS["ChannelEnergy"].node_attributes(attributes)
    expected = run_body(channel_energy.body(attributes), {"x": x}, given, "fp32")
    assert got.shape == expected.shape
    assert np.allclose(got, expected, rtol=1e-4, atol=1e-3)


def test_the_native_file_gives_the_reference_files_labels(exported_bundle):
    bundle = Bundle.open(exported_bundle)
    model = bundle.read(bundle.variant("fp32").file)
    native = with_bodies(model, bundle.read(bundle.manifest.lowerings.native), NAMESPACE)
    onnx.checker.check_model(native, full_check=True)
    golden = bundle.read(bundle.manifest.golden.frame)
    frame = cv2.imdecode(np.frombuffer(golden, np.uint8), cv2.IMREAD_COLOR)
    one, other = (
        parity.run_labels(onnx.load_from_string(content), [frame])[0] for content in (model, native)
    )
    assert (one == other).mean() > 0.999
    assert len(np.unique(one)) >= 3


def test_the_native_bodies_hold_one_fused_attention_and_no_softmax():
    model = onnx.load_from_string(
        native_functions(operator_sizes(DANetConfig(), plan_geometry((1024, 2048))))
    )
    types = [
        node.op_type for body in model.functions if body.name == "PositionAttention" for node in body.node
    ]
    assert types.count("Attention") == 1
    assert "Softmax" not in types
    assert "MatMul" not in types
