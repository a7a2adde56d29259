"""Measured FP16 ranges agree with NumPy's own rounding, ONNX Runtime's whole run, and float64."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from danet_calibration.errors import CalibrationError, GateError
from danet_calibration.fp16 import numeric_range
from danet_calibration.fp16.numeric_range import measure_fp16_range
from danet_calibration.fp16.report import Fp16Range, TensorRange, require_fp16_range
from danet_calibration.measure import divided_node
from danet_calibration.measure.divided_node import DividedNode
from danet_calibration.measure.node_by_node import NodeByNode, tensor_types
from danet_export.frames import pattern
from danet_export.ops import channel_energy, position_attention
from danet_runtime.bundle import Bundle
from danet_runtime.bundle.operators import OPERATORS

SIZE = (64, 128)


@pytest.fixture(scope="module")
def bundle(exported_bundle):
    return Bundle.open(exported_bundle)


def load(bundle, precision):
    return onnx.load_from_string(bundle.read(bundle.variant(precision).file))


@pytest.fixture(scope="module")
def measured(bundle):
    return measure_fp16_range(bundle, [pattern(SIZE, seed) for seed in range(2)])


def row(measured, name):
    return next(item for item in measured.tensors if item.tensor == name)


def whole_run(model, names, frame):
    """Chosen tensors of a whole run in ONNX Runtime."""
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, {"frame": frame[None]}), strict=True))


@given(hnp.arrays(np.float32, st.integers(1, 50), elements=st.floats(width=32)))
def test_counts_are_those_of_rounding_with_numpy(values):
    statistics = numeric_range._Statistics()
    statistics.add(values)
    with np.errstate(over="ignore"):
        rounded = np.abs(values.astype(np.float16).astype(np.float32))
    nonzero = values != 0
    small = np.abs(values) < np.finfo(np.float16).smallest_normal
    assert statistics.overflow == np.count_nonzero(~np.isfinite(rounded))
    assert statistics.underflow == np.count_nonzero(small & nonzero)
    assert statistics.zeroed == np.count_nonzero((rounded == 0) & nonzero)
    assert statistics.values == values.size
    finite = np.isfinite(values).all()
    assert statistics.largest == (np.abs(values).max() if finite else np.inf)


def rounding_model(scale, bias):
    """uint8 frame to FP16, scaled and shifted in FP16, back to bytes."""
    constant = [
        helper.make_tensor(name, TensorProto.FLOAT16, [], [value])
        for name, value in (("scale", scale), ("bias", bias))
    ]
    nodes = [
        helper.make_node("Cast", ["frame"], ["start"], name="first", to=TensorProto.FLOAT16),
        helper.make_node("Mul", ["start", "scale"], ["scaled"], name="second"),
        helper.make_node("Add", ["scaled", "bias"], ["shifted"], name="third"),
        helper.make_node("Cast", ["shifted"], ["labels"], name="last", to=TensorProto.UINT8),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, [1, 2, 2, 3]) for name in ("frame", "labels")
    ]
    graph = helper.make_graph(nodes, "rounding", ends[:1], ends[1:], constant)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def stored_of(model, frame):
    observed = {}
    NodeByNode(model)(frame, lambda name, values: observed.__setitem__(name, values.copy()))
    return observed


def test_each_stored_value_is_rounded_to_fp16():
    frame = np.full((2, 2, 3), 200, np.uint8)
    beyond = stored_of(rounding_model(500.0, -1000.0), frame)  # 1e5
    assert np.isinf(beyond["scaled"]).all()
    assert np.isinf(beyond["shifted"]).all()  # and a later node does not bring it back
    rounded = stored_of(rounding_model(10.0, 49.0), frame)  # 2049 lies between 2048 and 2050
    assert (rounded["scaled"] == 2000).all()
    assert (rounded["shifted"] == 2048).all()


def test_a_whole_run_in_onnx_runtime_would_not_show_it():
    """The reason for running node by node; where this fails, ONNX Runtime has learnt to compute in FP16."""
    frame = np.full((2, 2, 3), 200, np.uint8)
    model = rounding_model(500.0, -50000.0)
    model.graph.node.insert(3, helper.make_node("Cast", ["shifted"], ["exact"], name="widen", to=1))
    assert np.isfinite(whole_run(model, ["exact"], frame)["exact"]).all()
    assert np.isinf(stored_of(model, frame)["exact"]).all()


def test_node_by_node_gives_what_a_whole_run_gives(bundle):
    model = load(bundle, "fp32")
    frame = pattern(SIZE, 7)
    observed = {}
    labels = NodeByNode(model)(frame, lambda name, values: observed.__setitem__(name, values.copy()))
    names = [name for node in model.graph.node for name in node.output if name != "labels"]
    assert set(names) < set(observed)
    for name, expected in whole_run(load(bundle, "fp32"), [*names, "labels"], frame).items():
        if name == "labels":
            assert (labels == expected[0]).mean() > 0.999
        elif name != "_symbolic_2":  # labels as numbers: near ties differ
            np.testing.assert_allclose(
                observed[name], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max()
            )


def test_every_floating_tensor_of_the_fp16_file_is_measured(bundle, measured):
    types = tensor_types(load(bundle, "fp16"))
    floating = {name for name, kind in types.items() if kind == TensorProto.FLOAT16}
    assert {item.tensor for item in measured.tensors if item.fp16} == floating
    assert len(floating) > 100
    assert all(item.values > 0 for item in measured.tensors)
    inner = {item.tensor.partition("/")[0] for item in measured.tensors if "/" in item.tensor}
    assert inner == {"position_attention", "channel_energy", "upsample_argmax"}


def test_energies_are_fp32_in_the_file_and_the_map_is_fp16(measured):
    assert not row(measured, "position_attention/danet_pa_energy").fp16
    assert not row(measured, "position_attention/danet_pa_map32").fp16
    assert row(measured, "position_attention/danet_pa_map").fp16
    assert not row(measured, "channel_energy/danet_ce_left").fp16
    assert not row(measured, "sum_1").fp16


def test_energies_are_those_of_float64(bundle):
    model = load(bundle, "fp32")
    nodes = {node.name: node for node in model.graph.node}
    q, k = nodes["position_attention"].input[:2]
    x = nodes["channel_energy"].input[0]
    frame = pattern(SIZE, 3)
    values = whole_run(model, [q, k, x], frame)
    flat = {name: array[0].reshape(array.shape[1], -1).astype(float) for name, array in values.items()}
    position, channel = measure_fp16_range(bundle, [frame]).attention
    assert (position.attention, channel.attention) == ("position_attention", "channel_attention")
    assert position.largest == pytest.approx(np.abs(flat[q].T @ flat[k]).max(), rel=1e-4)
    assert channel.largest == pytest.approx(np.abs(flat[x] @ flat[x].T).max(), rel=1e-4)
    assert channel.share_of_fp16 == channel.largest / 65504


def test_channel_energies_in_slices_are_added_up_before_they_are_measured():
    x = np.random.default_rng(0).standard_normal((1, 4, 8, 16)).astype(np.float32)
    partial = channel_energy.reference({"x": x}, {"slices": 4})
    flat = x.reshape(4, -1)
    expected = np.abs(flat @ flat.T).max()
    assert numeric_range._largest_energy(partial.astype(np.float32)) == pytest.approx(expected, rel=1e-5)
    assert np.abs(partial).max() < 0.6 * expected


def test_in_parts_the_same_is_measured_as_over_the_whole_map(bundle, measured):
    frames = [pattern(SIZE, seed) for seed in range(2)]
    divided = measure_fp16_range(bundle, frames, whole_map_tokens=8)
    assert [item.tensor for item in divided.tensors] == [item.tensor for item in measured.tensors]
    for one, other in zip(divided.tensors, measured.tensors, strict=True):
        assert (one.values, one.overflow, one.fp16) == (other.values, other.overflow, other.fp16), one.tensor
        assert one.largest == pytest.approx(other.largest, rel=1e-2), one.tensor
    assert divided.attention[0].largest == pytest.approx(measured.attention[0].largest, rel=1e-5)


@pytest.mark.parametrize("part_values", [1, 20, 10**6])
def test_attention_in_parts_of_any_length_is_the_papers(part_values, monkeypatch):
    monkeypatch.setattr(divided_node, "PART_VALUES", part_values)
    got, inputs, _ = run_divided((4, 6), (3, 5))
    np.testing.assert_allclose(got, position_attention.reference(inputs, {}), rtol=1e-4, atol=1e-5)


def test_attention_in_parts_leaves_the_padding_of_longer_rows_out(monkeypatch):
    monkeypatch.setattr(divided_node, "PART_VALUES", 20)
    got, inputs, _ = run_divided((4, 6), (3, 5), row=24)
    assert got.shape == (1, 6, 3, 5)
    np.testing.assert_allclose(got, position_attention.reference(inputs, {}), rtol=1e-4, atol=1e-5)


def test_parts_never_hold_the_map(monkeypatch):
    monkeypatch.setattr(divided_node, "PART_VALUES", 2**16)
    _, _, observed = run_divided((2, 2), (24, 32))  # 768 positions: the map has 589824 values
    assert max(values.size for values in observed) <= 2**16
    assert sum(values.size for values in observed) > 4 * 768**2, "energies, weights and both their copies"


def run_divided(channels, hw, row=None):
    """PositionAttention of random inputs by its body's nodes: result, inputs, every tensor on the way.

    With ``row``, queries, keys and values have rows of so many positions, and NaN behind those of x.
    """
    random = np.random.default_rng(1)
    of = dict(zip("qkvx", (channels[0], channels[0], channels[1], channels[1]), strict=True))
    inputs = {name: random.standard_normal((1, count, *hw)).astype(np.float32) for name, count in of.items()}
    sizes = {}
    if row:
        sizes = {"tokens": hw[0] * hw[1], "pitch": row}
        padding = [(0, 0), (0, 0), (0, 0), (0, row - sizes["tokens"])]
        for name in "qkv":
            flat = inputs[name].reshape(1, -1, 1, sizes["tokens"])
            inputs[name] = np.pad(flat, padding, constant_values=np.nan)
    body = position_attention.body(sizes)
    observed = []

    def run(node, values):
        results = run_node(node, values, body.opset_import)
        observed.extend(results)
        return results

    divided = DividedNode(OPERATORS["PositionAttention"], list(body.input), list(body.node))
    return divided(list(inputs.values()), run), inputs, observed


def run_node(node, values, opsets):
    feeds = {name: values[name] for name in node.input}
    graph = helper.make_graph(
        [node],
        "one",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), None)
            for n, a in feeds.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in node.output],
    )
    return ReferenceEvaluator(helper.make_model(graph, opset_imports=opsets)).run(None, feeds)


def test_frames_are_read_one_at_a_time_and_progress_is_told(bundle):
    events = []

    def frames():
        for seed in range(3):
            events.append("read")
            yield pattern(SIZE, seed)

    result = measure_fp16_range(bundle, frames(), lambda done, _of: events.append(done))
    assert result.frames == 3
    assert events == ["read", 1, "read", 2, "read", 3]


def test_no_frames_are_an_error(bundle):
    with pytest.raises(CalibrationError, match="no frames"):
        measure_fp16_range(bundle, [])


def test_a_model_well_within_range_passes_with_a_report_that_says_so(measured):
    require_fp16_range(measured)
    assert measured.label_agreement > 0.99
    report = json.loads(json.dumps(measured.report(), allow_nan=False))
    assert report["frames"] == 2
    assert report["nonfinite_alone"] == report["nonfinite_when_rounded"] == 0
    assert report["beyond_limit"] == report["kept_fp32"] == []
    sizes = [entry["largest"] for entry in report["largest"]]
    assert len(sizes) == 10
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == max(item.largest for item in measured.tensors if item.fp16)
    assert [entry["attention"] for entry in report["attention"]] == [
        "position_attention",
        "channel_attention",
    ]
    assert "of 65504" in measured.summary()[0]
    assert len(measured.summary()) == 3


def with_node_in_front(model, operator, *inputs):
    """The FP16 file with one more node between normalisation and the cast to FP16."""
    at, cast = next((i, node) for i, node in enumerate(model.graph.node) if list(node.input) == ["add"])
    cast.input[0] = "more"
    node = helper.make_node(operator, ["add", *inputs], ["more"], name=f"node_{operator.lower()}")
    model.graph.node.insert(at, node)
    return model.SerializeToString()


def test_a_padding_that_the_fp32_file_holds_in_its_convolution_is_measured_as_what_it_pads(bundle):
    model = load(bundle, "fp16")
    model.graph.initializer.append(helper.make_tensor("no_pads", TensorProto.INT64, [8], [0] * 8))
    fp16_model = with_node_in_front(model, "Pad", "no_pads")
    measured = measure_fp16_range(bundle, [pattern(SIZE, 0)], fp16_model=fp16_model)
    assert (row(measured, "more").source, row(measured, "more").fp16) == ("add", False)
    assert row(measured, "_to_copy_1").source == "add"


def test_a_tensor_that_the_fp32_file_does_not_have_is_an_error_not_a_gap(bundle):
    fp16_model = with_node_in_front(load(bundle, "fp16"), "Exp")
    with pytest.raises(CalibrationError, match="more of the FP16 file, made by node_exp"):
        measure_fp16_range(bundle, [pattern(SIZE, 0)], fp16_model=fp16_model)


def one_tensor(largest, fp16=True, overflow=0, nonfinite=0):
    item = TensorRange("relu_3", "node_relu_3", "relu_3", fp16, largest, 100, overflow, 0, 0, nonfinite)
    return Fp16Range(frames=4, tensors=(item,), attention=(), label_agreement=1.0)


@pytest.mark.parametrize(
    "bad", [one_tensor(32753.0), one_tensor(1e5, overflow=1), one_tensor(10.0, nonfinite=1)]
)
def test_what_goes_beyond_is_refused_with_the_tensor(bad):
    with pytest.raises(GateError, match="relu_3"):
        require_fp16_range(bad)


def test_an_fp32_tensor_may_go_beyond_and_is_reported():
    result = one_tensor(1e5, fp16=False, overflow=7)
    require_fp16_range(result)
    assert result.beyond_limit == ()
    at_risk = TensorRange("conv", "node_conv", "conv", True, 1.0, 1, 0, 0, 0, 0)
    both = Fp16Range(4, (*result.tensors, at_risk), (), 1.0)
    assert [entry["tensor"] for entry in both.report()["fp32_beyond_fp16"]] == ["relu_3"]
