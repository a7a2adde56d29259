"""Rows of queries, keys and values in the exported graph: aligned for the kernels, whatever the size."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from danet_export.graph.geometry import plan_geometry
from danet_export.graph.native_bodies import native_functions
from danet_export.graph.onnx_model import to_onnx
from danet_export.graph.wrapper import PositionAttentionNode, operator_sizes
from danet_runtime.bundle.operators import NAMESPACE, OPERATORS, padded_tokens
from danet_runtime.tensorrt.plugins.onnx_file import with_bodies
from danet_train.model.attention import PositionAttention
from danet_train.model.config import DANetConfig


class Alone(nn.Module):
    """Position attention of a frame's own three channels."""

    def __init__(self, attention):
        super().__init__()
        self.attention = attention

    def forward(self, frame):
        return self.attention(frame.to(torch.float32).permute(0, 3, 1, 2) / 64 - 2)


def attention():
    torch.manual_seed(0)
    made = PositionAttention(3, 4)
    nn.init.constant_(made.gamma.scale, 0.7)
    return made.eval()


def exported(size_hw):
    geometry = plan_geometry(size_hw)
    return to_onnx(Alone(PositionAttentionNode(attention())), geometry)


def run(model, frame):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["labels"], {"frame": frame})[0]


def node_of(model):
    (node,) = (node for node in model.graph.node if node.op_type == "PositionAttention")
    values = (*model.graph.value_info, *model.graph.output)
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}
    return node, [shapes[name] for name in node.input]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size_hw", "row"), [((9, 17), 256), pytest.param((8, 16), 128, marks=pytest.mark.slow)]
)
def test_attention_over_padded_and_over_aligned_rows_is_pytorchs_in_both_forms(size_hw, row):
    model = exported(size_hw)
    node, shapes = node_of(model)
    assert [np.prod(shape[2:]) for shape in shapes] == [row, row, row, size_hw[0] * size_hw[1]]
    assert [item.op_type for item in model.graph.node].count("Pad") == (row > size_hw[0] * size_hw[1])
    frame = np.random.default_rng(0).integers(0, 256, (1, *size_hw, 3), np.uint8)
    with torch.inference_mode():
        expected = Alone(attention())(torch.from_numpy(frame)).numpy()
    content = model.SerializeToString()
    sizes = OPERATORS["PositionAttention"].sizes(shapes, {})
    native = with_bodies(content, native_functions({"PositionAttention": sizes}), NAMESPACE)
    onnx.checker.check_model(native, full_check=True)
    for form in (content, native):
        np.testing.assert_allclose(run(form, frame), expected, rtol=1e-4, atol=1e-5)
    assert not node.attribute or {item.name for item in node.attribute} == {
        "plugin_namespace",
        "plugin_version",
    }


@pytest.mark.parametrize(("size_hw", "pitch"), [((769, 769), 9472), ((360, 480), 2816), ((512, 1024), None)])
def test_kernels_are_made_for_the_rows_that_the_graph_has(size_hw, pitch):
    sizes = operator_sizes(DANetConfig(), plan_geometry(size_hw))["PositionAttention"]
    assert sizes.get("pitch") == pitch
    assert padded_tokens(sizes["tokens"]) == (pitch or sizes["tokens"])
