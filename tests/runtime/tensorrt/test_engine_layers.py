"""Convolutions on INT8 are counted in the builder's own list, and an INT8 engine without any is refused."""

from __future__ import annotations

import pytest

from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.build.layers import Convolutions, count_convolutions, require_int8

TENSOR = "{{ Name: {name}, Dimensions: [1,4,128,256], Datatype: {dtype}, Format: (NHWC) Channel major }}"


def layer(kind: str, dtype: str) -> str:
    """As TensorRT for RTX 1.7 lists it; the weights' type does not decide."""
    read, written, weights = (
        TENSOR.format(name=name, dtype=what)
        for name, what in (("x", dtype), ("y", "Float"), ("dconst", "Int8"))
    )
    return (
        f"Name: node_{kind}_myl0_2, LayerType: {kind}, Inputs: [ {read}], Constants: [ {weights}], "
        f"Outputs: [ {written}], TacticName: sm80_xmma_fprop, StreamId: 0, Metadata: "
    )


def test_convolutions_are_counted_by_what_they_read():
    message = "\n".join(
        [
            layer("correlation", "Int8"),
            layer("kgen", "Int8"),
            layer("correlation", "Half"),
            layer("gemm", "Int8"),
        ]
    )
    assert count_convolutions([message]) == (1, 2)
    assert count_convolutions([message, message]) == (2, 4)


def test_a_list_without_weights_and_with_other_names_is_read_too():
    line = (
        "Name: conv1 + relu, LayerType: CaskConvolution, Inputs: [ { Name: x, Dimensions: [1,3,64,64], "
        "Format/Datatype: Thirty-two wide channel vectorized row major Int8 format }], Outputs: [ { Name: y, "
        "Dimensions: [1,8,64,64], Format/Datatype: Row major linear FP32 }], ParameterType: Convolution"
    )
    assert count_convolutions([line]) == (1, 1)


@pytest.mark.parametrize("messages", [[], ["Total Activation Memory: 4096"], [layer("kgen", "Int8")]])
def test_a_log_without_convolutions_tells_nothing(messages):
    assert count_convolutions(messages) is None


def test_an_int8_engine_without_int8_convolutions_is_refused():
    with pytest.raises(
        BackendError, match=r"none of its 29 convolutions on INT8, where the bundle gives 97\.0%"
    ):
        require_int8(Convolutions(0, 29), 0.97)
    with pytest.raises(BackendError, match=r"none of its 29 convolutions on INT8; it is not kept"):
        require_int8(Convolutions(0, 29), None)
    for found, promised in ((Convolutions(1, 29), 0.97), (None, 0.97), (Convolutions(0, 29), 0.0)):
        require_int8(found, promised)
