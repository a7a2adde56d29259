"""A model run in segments gives the same tensors as in one run."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from danet_calibration.errors import CalibrationError
from danet_calibration.int8.ranges.placement_rules import inline
from danet_calibration.int8.ranges.segments import SegmentedModel
from danet_export.frames import pattern
from danet_runtime.bundle import Bundle


@pytest.fixture(scope="module")
def model(exported_bundle):
    bundle = Bundle.open(exported_bundle)
    return inline(bundle.read(bundle.variant("fp32").file))


@pytest.fixture(scope="module")
def wanted(model):
    return [node.output[0] for node in model.graph.node if node.op_type in ("Relu", "Add", "MaxPool", "Conv")]


@pytest.fixture(scope="module")
def truth(model, wanted):
    augmented = onnx.ModelProto()
    augmented.CopyFrom(model)
    names = {output.name for output in model.graph.output}
    inferred = onnx.shape_inference.infer_shapes(model)
    augmented.graph.output.extend(
        value for value in inferred.graph.value_info if value.name in set(wanted) - names
    )
    session = onnxruntime.InferenceSession(augmented.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(wanted, session.run(wanted, {"frame": pattern((64, 128), 5)[None]}), strict=True))


@pytest.mark.parametrize(("budget_bytes", "fewest", "most"), [(2**16, 6, 60), (2**18, 3, 30), (2**40, 1, 1)])
def test_all_tensors_come_once_and_are_those_of_the_whole_model(
    model, wanted, truth, budget_bytes, fewest, most
):
    runner = SegmentedModel(model, wanted, budget_bytes)
    assert fewest <= runner.segment_count <= most
    for _ in range(2):
        found = [(name, values.copy()) for name, values in runner.run({"frame": pattern((64, 128), 5)[None]})]
        assert sorted(name for name, _ in found) == sorted(wanted)
        for name, values in found:
            scale = np.abs(truth[name]).max()
            np.testing.assert_allclose(values, truth[name], atol=1e-5 * scale, err_msg=name)


def test_what_comes_after_the_last_wanted_tensor_is_not_run(model, wanted):
    runner = SegmentedModel(model, [wanted[0]], 1)
    assert runner.segment_count == 1
    ((name, _),) = runner.run({"frame": pattern((64, 128), 0)[None]})
    assert name == wanted[0]


def test_the_models_own_input_can_be_wanted(model):
    frame = pattern((64, 128), 0)[None]
    ((name, values),) = SegmentedModel(model, ["frame"]).run({"frame": frame})
    assert name == "frame"
    assert values is frame


def test_subgraphs_see_tensors_of_earlier_segments():
    branch = [
        helper.make_graph(
            [helper.make_node(op, ["late"], [f"{op}_out"])],
            op,
            [],
            [helper.make_tensor_value_info(f"{op}_out", 1, [4])],
        )
        for op in ("Neg", "Abs")
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["x"], ["late"]),
            helper.make_node("Neg", ["late"], ["other"]),
            helper.make_node("If", ["flag"], ["y"], then_branch=branch[0], else_branch=branch[1]),
        ],
        "g",
        [helper.make_tensor_value_info("x", 1, [4]), helper.make_tensor_value_info("flag", 9, [])],
        [helper.make_tensor_value_info("y", 1, [4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    runner = SegmentedModel(model, ["late", "other", "y"], 1)
    assert runner.segment_count == 3
    inputs = {"x": np.array([-1, 2, -3, 4], np.float32), "flag": np.array(True)}
    assert dict(runner.run(inputs))["y"].tolist() == [0, -2, 0, -4]


def test_a_tensor_that_is_not_there_is_named(model):
    with pytest.raises(CalibrationError, match=r"no activations named \['nowhere'\]"):
        SegmentedModel(model, ["nowhere"])
