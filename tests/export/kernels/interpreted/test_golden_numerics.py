"""The kernels in the interpreter give the numbers that the contract states."""

import numpy as np
import pytest
import torch

from danet_export.kernels.architectures import ARCHITECTURES
from danet_export.kernels.bundle_kernels import specify
from danet_export.ops.execution import launch
from danet_runtime.bundle.operators import OPERATORS, output_shape


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
@pytest.mark.parametrize("name", OPERATORS)
def test_the_kernel_gives_the_golden_numbers(name, dtype):
    spec = OPERATORS[name]
    kind = torch.float16 if dtype == "fp16" else torch.bfloat16
    for case in spec.golden:
        tensors = [torch.tensor(np.array(values)).to(kind) for values in case.inputs.values()]
        shapes = [tuple(tensor.shape) for tensor in tensors]
        (kernel,) = specify({name: spec.sizes(shapes, case.attributes)}, ARCHITECTURES["sm_87"], "small")
        output_kind = torch.float32 if spec.output_type == "fp32" else kind
        output = torch.full(output_shape(spec, shapes, case.attributes), float("nan"), dtype=output_kind)
        launch(kernel, *tensors, output)
        error = spec.error(output.double().numpy(), case.output)
        assert error <= (0 if spec.counts_labels else spec.tolerance[dtype])
