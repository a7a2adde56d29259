"""Function bodies leave a model; every other byte stays. The onnx package is the judge."""

from __future__ import annotations

import math

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, parser

from danet_runtime.errors import BundleError
from danet_runtime.tensorrt.plugins.onnx_file import function_names, node_types, without_functions

INT64 = st.integers(-(2**63), 2**63 - 1)
NAMES = st.text(min_size=1, max_size=40)
DOMAINS = st.sampled_from(["danet", "other", "", "danet.ml", "dänét"])


@st.composite
def functions(draw):
    node = helper.make_node("Identity", ["x"], ["y"], name=draw(NAMES))
    return helper.make_function(
        draw(DOMAINS), draw(NAMES), ["x"], ["y"], [node], [helper.make_opsetid("", 20)], attributes=["a"]
    )


@st.composite
def models(draw):
    """Any model that onnx.helper builds: weights, nodes, metadata, functions of several domains."""
    shape = draw(st.lists(st.integers(1, 3), max_size=3))
    raw = draw(st.binary(min_size=2 * math.prod(shape), max_size=2 * math.prod(shape)))
    weight = helper.make_tensor("w", TensorProto.FLOAT16, shape, raw, raw=True)
    nodes = [
        helper.make_node(draw(NAMES), ["x"], [f"y{index}"], domain=draw(DOMAINS), count=draw(INT64))
        for index in range(draw(st.integers(0, 4)))
    ]
    graph = helper.make_graph(
        nodes,
        draw(NAMES),
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y0", TensorProto.FLOAT, None)],
        [weight],
        doc_string=draw(st.text(max_size=300)),
    )
    model = helper.make_model(
        graph,
        functions=draw(st.lists(functions(), max_size=5)),
        opset_imports=[helper.make_opsetid("danet", 1), helper.make_opsetid("", 20)],
        producer_name=draw(st.text(max_size=20)),
        model_version=draw(INT64),
    )
    helper.set_model_props(model, draw(st.dictionaries(NAMES, st.text(max_size=20), max_size=3)))
    return model


def expected(model: onnx.ModelProto, domain: str) -> onnx.ModelProto:
    """The same by the onnx package."""
    kept = [function for function in model.functions if function.domain != domain]
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.functions[:]
    copy.functions.extend(kept)
    return copy


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(models(), DOMAINS)
def test_any_model_keeps_everything_but_the_functions_of_the_domain(model, domain):
    data = model.SerializeToString()
    stripped = without_functions(data, domain)
    assert stripped == expected(model, domain).SerializeToString()
    assert onnx.load_model_from_string(stripped).graph == model.graph
    assert function_names(data) == [(function.name, function.domain) for function in model.functions]
    assert domain not in [of for _, of in function_names(stripped)]
    assert node_types(data, domain) == [node.op_type for node in model.graph.node if node.domain == domain]


@settings(max_examples=80, deadline=None)
@given(models(), st.integers(1, 400))
def test_a_model_that_breaks_off_is_refused_or_ends_with_a_whole_field(model, cut):
    data = model.SerializeToString()[:-cut]
    try:
        stripped = without_functions(data, "danet")
    except BundleError:
        return
    onnx.load_model_from_string(stripped)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_anything_else_is_refused(data):
    try:
        without_functions(data, "danet")
    except BundleError as error:
        assert "expected an ONNX model" in str(error)  # noqa: PT017 - random bytes may also be a valid message


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "without a graph"),
        (b"\x3a\x05ab", "breaks off"),
        (b"\x0b", "wire type 3"),
        (b"\x08" + b"\xff" * 11, "unreadable number"),
        (b"\x08\xff", "unreadable number"),
        (b"\x02\x00", "damaged"),
    ],
)
def test_damage_is_named(data, complaint):
    with pytest.raises(BundleError, match=complaint):
        without_functions(data, "danet")


def test_a_models_own_functions_are_what_the_checker_misses_afterwards():
    body = parser.parse_function(
        '<domain: "danet", opset_import: ["" : 20]> Twice (a) => (b) { b = Add (a, a) }'
    )
    graph = parser.parse_graph("g (float[3] x) => (float[3] y) { y = danet.Twice (x) }")
    model = helper.make_model(
        graph, functions=[body], opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("danet", 1)]
    )
    model.ir_version = 9
    onnx.checker.check_model(model)
    stripped = onnx.load_model_from_string(without_functions(model.SerializeToString(), "danet"))
    assert not stripped.functions
    assert stripped.graph == model.graph
    assert stripped.opset_import == model.opset_import
