"""Only tensors beyond FP16's range are kept in FP32, and the attention cannot be moved.

ReLU networks are homogeneous: a convolution times 1e5 and the next one through 1e5 is the same function. So
the labels of the bundle itself are the truth for a bundle whose FP16 file overflows.
"""

import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

from danet_calibration.errors import CalibrationError, GateError
from danet_calibration.fp16.gate import secure_fp16
from danet_calibration.fp16.islands import island_nodes, keep_fp32
from danet_calibration.fp16.numeric_range import measure_fp16_range
from danet_calibration.fp16.report import require_fp16_range
from danet_calibration.images.images import FrameReader, choose_images
from danet_calibration.int8.placement import quantise
from danet_calibration.int8.ranges.scales import QuantisedInput, find_scales
from danet_calibration.measure.node_by_node import NodeByNode, tensor_types
from danet_export.frames import pattern
from danet_runtime.bundle import Bundle, FileRef
from danet_runtime.files.atomic import sha256_of

SIZE = (64, 128)
CONV1, CONV2 = "network.backbone.layer2.1.conv1", "network.backbone.layer2.1.conv2"


def frames():
    return [pattern(SIZE, seed) for seed in range(2)]


def read(bundle, precision):
    return bundle.read(bundle.variant(precision).file)


def weights_of(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def labels_of(model, frame):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"frame": frame[None]})[0][0]


def scaled(bundle, path, factors):
    """A copy of a bundle whose weights are multiplied in both files, before the rounding to FP16."""
    shutil.copytree(bundle.path, path)
    exact = onnx.load_from_string(read(bundle, "fp32"))
    variants = {}
    for precision in ("fp32", "fp16"):
        model = onnx.load_from_string(read(bundle, precision))
        truth = weights_of(exact)
        done = set()
        for tensor in model.graph.initializer:
            if tensor.name in factors:
                kind = numpy_helper.to_array(tensor).dtype
                with np.errstate(over="ignore"):
                    values = (truth[tensor.name] * factors[tensor.name]).astype(kind)
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
                done.add(tensor.name)
        assert done == set(factors)
        data = model.SerializeToString()
        (path / f"model.{precision}.onnx").write_bytes(data)
        ref = FileRef(path=f"model.{precision}.onnx", sha256=sha256_of(data), bytes=len(data))
        variants[precision] = bundle.manifest.variants[precision].model_copy(update={"file": ref})
    return Bundle(path, bundle.manifest.model_copy(update={"variants": variants}), "0" * 64)


@pytest.fixture(scope="module")
def bundle(exported_bundle):
    return Bundle.open(exported_bundle)


@pytest.fixture(scope="module")
def overflowing(bundle, tmp_path_factory):
    """Both convolutions of a residual block scaled against each other: between them values reach 1e5."""
    factor = 1e5
    factors = {f"{CONV1}.weight": factor, f"{CONV1}.bias": factor, f"{CONV2}.weight": 1 / factor}
    return scaled(bundle, tmp_path_factory.mktemp("overflow") / "bundle", factors)


@pytest.fixture(scope="module")
def nodes_between(bundle):
    """The two convolutions and the ReLU between, found by their weights."""
    nodes = onnx.load_from_string(read(bundle, "fp16")).graph.node
    first = next(node for node in nodes if f"{CONV1}.weight" in node.input)
    second = next(node for node in nodes if f"{CONV2}.weight" in node.input)
    relu = next(node for node in nodes if node.output[0] == second.input[0])
    assert list(relu.input) == list(first.output)
    return first, relu, second


@pytest.fixture(scope="module")
def safe(overflowing):
    return secure_fp16(overflowing, frames)


def test_an_overflow_shows_in_both_ways_and_is_refused(overflowing, nodes_between):
    measured = measure_fp16_range(overflowing, frames())
    between = {nodes_between[0].output[0], nodes_between[1].output[0]}
    by_name = {item.tensor: item for item in measured.tensors}
    for name in between:
        assert by_name[name].largest > 65504
        assert by_name[name].overflow > 0
        assert by_name[name].nonfinite_when_rounded > 0
    # Alone, what lies behind fits again; only the run that rounds sees that infinity reaches the labels.
    behind = by_name[nodes_between[2].output[0]]
    assert behind.overflow == 0
    assert behind.nonfinite_when_rounded > 0
    activations = {item.tensor for item in measured.beyond_limit if "network" not in item.tensor}
    assert activations == between
    with pytest.raises(GateError, match="FP16 tensors go beyond"):
        require_fp16_range(measured)
    assert measured.label_agreement < 0.9


def test_what_overflowed_is_kept_in_fp32_and_holds_then(safe, bundle, nodes_between):
    assert set(safe.kept_fp32) == {node.name for node in nodes_between}
    assert safe.measured.nonfinite == ()
    assert safe.measured.beyond_limit == ()
    assert safe.measured.label_agreement > 0.99
    frame = pattern(SIZE, 5)
    assert (labels_of(safe.model, frame) == labels_of(read(bundle, "fp32"), frame)).mean() > 0.99


def test_the_island_takes_the_fp32_files_weights_and_the_rest_stays_fp16(safe, overflowing, nodes_between):
    mixed = onnx.load_from_string(safe.model)
    kept = weights_of(mixed)
    exact = weights_of(onnx.load_from_string(read(overflowing, "fp32")))
    before = onnx.load_from_string(read(overflowing, "fp16"))
    nodes = {node.name: node for node in mixed.graph.node}
    for node in (nodes_between[0], nodes_between[2]):
        for index in (1, 2):
            np.testing.assert_array_equal(kept[nodes[node.name].input[index]], exact[node.input[index]])
    assert [
        node.name for node in mixed.graph.node if "_fp32" not in node.name and "_fp16" not in node.name
    ] == [node.name for node in before.graph.node]
    added = [node for node in mixed.graph.node if node.name not in {item.name for item in before.graph.node}]
    assert [node.op_type for node in added] == ["Cast", "Cast"]
    old, new = tensor_types(before), tensor_types(mixed)
    changed = {name for name in old if name in new and old[name] != new[name]}
    assert changed == {nodes_between[0].output[0], nodes_between[1].output[0]}


def test_the_mixed_file_keeps_the_metadata_of_the_exported_one(safe, overflowing):
    exported = onnx.load_from_string(read(overflowing, "fp16"))
    assert len(exported.metadata_props) > 5
    assert onnx.load_from_string(safe.model).metadata_props == exported.metadata_props


def test_the_report_says_what_was_kept_and_why(safe):
    report = json.loads(json.dumps(safe.report(), allow_nan=False))
    assert report["kept_fp32"] == sorted(safe.kept_fp32)
    assert report["before"]["nonfinite_alone"] > 0
    assert report["before"]["nonfinite_when_rounded"] > 0
    assert report["nonfinite_alone"] == report["nonfinite_when_rounded"] == 0
    assert report["fp32_beyond_fp16"]
    text = "\n".join(safe.summary())
    assert all(name in text for name in safe.kept_fp32)


def test_tensorrt_builds_the_mixed_file(safe):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    from danet_runtime.tensorrt.build.rtx_builder import build_engine

    assert len(build_engine(safe.model, ["sm_89"]).plan) > 10_000


def test_nothing_to_keep_leaves_the_file_as_it_is(bundle):
    model = read(bundle, "fp16")
    assert keep_fp32(model, [], read(bundle, "fp32")) is model
    safe = secure_fp16(bundle, frames)
    assert safe.model == model
    assert safe.kept_fp32 == ()
    assert "before" not in safe.report()


def test_the_mixed_file_can_be_quantised_with_scales_of_its_tensors_types(safe, bundle, nodes_between):
    scales = [
        QuantisedInput(node.name, position, np.asarray(scale, np.float32))
        for node in nodes_between[::2]
        for position, scale in ((0, 0.05), (1, 0.01))
    ]
    model = quantise(safe.model, scales)
    types = tensor_types(model)
    nodes = {node.name: node for node in model.graph.node}
    for node in nodes_between[::2]:
        assert all(name.endswith("_dequantized") for name in nodes[node.name].input[:2])
        assert types[nodes[node.name].input[0]] == TensorProto.FLOAT
        assert types[nodes[node.name].input[1]] == TensorProto.FLOAT
    labels_of(model.SerializeToString(), pattern(SIZE, 0))


@pytest.mark.slow
def test_the_mixed_file_becomes_an_int8_file_that_tensorrt_builds(safe, overflowing, bundle, image_folder):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    from danet_runtime.tensorrt.build.rtx_builder import build_engine

    reader = FrameReader(choose_images(image_folder, 8), SIZE)
    model = quantise(safe.model, find_scales(read(overflowing, "fp32"), reader, "max"))
    assert len(build_engine(model.SerializeToString(), ["sm_89"]).plan) > 10_000
    frame = pattern(SIZE, 2)
    agreement = (labels_of(model.SerializeToString(), frame) == labels_of(read(bundle, "fp32"), frame)).mean()
    assert agreement > 0.9


@pytest.mark.parametrize(
    ("weight", "factor", "node", "tensor"),
    [
        ("network.decode_head.pam.query_project", 1e6, "position_attention", "input"),
        ("network.decode_head.cam_in_conv.conv", 1e6, "channel_energy", "input"),
        ("network.decode_head.conv_seg", 1e6, "upsample_argmax", "input"),
        ("network.decode_head.pam.value_project", 1e6, "position_attention", "input"),
    ],
)
def test_values_beyond_range_at_a_custom_node_are_refused_by_its_name(
    bundle, tmp_path, weight, factor, node, tensor
):
    factors = {f"{weight}.weight": factor, f"{weight}.bias": factor}
    changed = scaled(bundle, tmp_path / "bundle", factors)
    with pytest.raises(GateError, match=rf"an {tensor} of the custom node {node} .*deploy the fp32 variant"):
        secure_fp16(changed, frames)


def test_values_beyond_range_inside_a_custom_node_are_refused(bundle):
    with pytest.raises(GateError, match="inside the custom node position_attention"):
        keep_fp32(read(bundle, "fp16"), ["position_attention/danet_pa_context3"], read(bundle, "fp32"))


def test_a_model_that_is_broken_in_fp32_is_refused_as_such(bundle, tmp_path):
    factors = {f"{CONV1}.weight": 1e38, f"{CONV2}.weight": 1e38}
    with pytest.raises(GateError, match="FP32 file itself"):
        secure_fp16(scaled(bundle, tmp_path / "bundle", factors), frames)


@pytest.mark.parametrize("name", ["frame", "neg", "no_such_tensor", "position_attention/danet_pa_energy"])
def test_what_is_no_fp16_tensor_is_refused(bundle, name):
    with pytest.raises(CalibrationError, match="expected the name of an FP16 tensor"):
        keep_fp32(read(bundle, "fp16"), [name], read(bundle, "fp32"))


def test_an_fp32_file_of_another_network_is_refused(bundle, nodes_between):
    model = onnx.load_from_string(read(bundle, "fp32"))
    tensor = next(item for item in model.graph.initializer if item.name == f"{CONV1}.weight")
    tensor.CopyFrom(numpy_helper.from_array(np.zeros((2, 2, 3, 3), np.float32), tensor.name))
    with pytest.raises(CalibrationError, match="export the bundle again"):
        keep_fp32(read(bundle, "fp16"), [nodes_between[0].output[0]], model.SerializeToString())


@pytest.mark.slow
def test_any_choice_of_tensors_gives_a_valid_file_of_the_same_labels(bundle):
    fp16, fp32 = read(bundle, "fp16"), read(bundle, "fp32")
    model = onnx.load_from_string(fp16)
    types = tensor_types(model)
    custom = {name for node in model.graph.node if node.domain for name in (*node.input, *node.output)}
    held = {name for node in model.graph.node for name in (*node.input, *node.output)}
    movable = sorted(name for name in held - custom if types.get(name) == TensorProto.FLOAT16)
    assert len(movable) > 80
    frame = pattern(SIZE, 0)
    expected = NodeByNode(model)(frame, lambda _name, _values: None)

    @settings(max_examples=12, deadline=None)
    @given(st.sets(st.sampled_from(movable), min_size=1, max_size=12))
    def check(tensors):
        mixed = onnx.load_from_string(keep_fp32(fp16, tensors, fp32))
        half = {name for name, kind in tensor_types(mixed).items() if kind == TensorProto.FLOAT16}
        nodes = {node.name: node for node in mixed.graph.node}
        kept = island_nodes(fp16, tensors)
        for node in model.graph.node:
            if node.name in kept:
                assert not half.intersection([*nodes[node.name].input, *nodes[node.name].output])
            else:
                assert nodes[node.name] == node
        read_or_made = {name for node in mixed.graph.node for name in (*node.input, *node.output)}
        assert not tensors & half & read_or_made
        assert len(nodes) == len(mixed.graph.node)
        labels = NodeByNode(mixed)(frame, lambda _name, _values: None)
        assert (labels == expected).mean() > 0.98

    check()
