"""Every form of an operator gives the numbers that its contract states."""

import numpy as np
import pytest
import torch

from danet_export.ops.catalogue import code_of
from danet_export.ops.execution import plain_ops
from danet_export.ops.operator_parity import run_body
from danet_runtime.bundle.operators import OPERATORS

CASES = [
    pytest.param(spec, case, id=f"{spec.name} {index}")
    for spec in OPERATORS.values()
    for index, case in enumerate(spec.golden)
]


def arrays(case, dtype):
    return {name: np.array(values, dtype) for name, values in case.inputs.items()}


@pytest.mark.parametrize(("spec", "case"), CASES)
def test_the_reference_gives_the_golden_numbers(spec, case):
    got = code_of(spec.name).reference(case.inputs, case.attributes)
    np.testing.assert_allclose(got, np.array(case.output, np.float64), rtol=1e-12)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("spec", "case"), CASES)
def test_the_function_body_gives_the_golden_numbers(spec, case, precision):
    inputs = arrays(case, np.float16 if precision == "fp16" else np.float32)
    sizes = spec.sizes([array.shape for array in inputs.values()], case.attributes)
    body = code_of(spec.name).body({**sizes, **case.attributes})
    got = run_body(body, inputs, spec.node_attributes(case.attributes), precision)
    assert got.shape == np.shape(case.output)
    assert spec.error(got, case.output) <= (0 if spec.counts_labels else spec.tolerance[precision])


@pytest.mark.parametrize(("spec", "case"), CASES)
def test_the_native_body_gives_the_golden_numbers(spec, case):
    inputs = arrays(case, np.float32)
    sizes = spec.sizes([array.shape for array in inputs.values()], case.attributes)
    body = code_of(spec.name).native_body(sizes)
    got = run_body(body, inputs, spec.node_attributes(case.attributes), "fp32")
    assert spec.error(got, case.output) <= (0 if spec.counts_labels else spec.tolerance["fp32"])


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
@pytest.mark.parametrize(("spec", "case"), CASES)
def test_the_pytorch_operator_gives_the_golden_numbers(spec, case, dtype):
    kind = torch.float16 if dtype == "fp16" else torch.bfloat16
    code_of(spec.name)  # registers it
    tensors = [torch.from_numpy(array).to(kind) for array in arrays(case, np.float32).values()]
    attributes = [
        bool(value) if name == "align_corners" else value for name, value in case.attributes.items()
    ]
    with plain_ops():
        got = getattr(torch.ops.danet, spec.stem)(*tensors, *attributes)
    error = spec.error(got.double().numpy(), case.output)
    assert error <= (0 if spec.counts_labels else spec.tolerance[dtype])


def test_attention_that_is_scaled_is_not_golden():
    spec = OPERATORS["PositionAttention"]
    case = spec.golden[0]
    halved = {**case.inputs, "q": np.array(case.inputs["q"], np.float64) / 2}
    assert spec.error(code_of(spec.name).reference(halved, {}), case.output) > 0.1
