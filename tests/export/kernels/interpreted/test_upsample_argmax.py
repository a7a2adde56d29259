"""Upsampling and argmax in the interpreter: exactly FP32 NumPy's labels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danet_export.kernels import upsample_argmax as kernel
from danet_export.kernels.architectures import ARCHITECTURES
from danet_export.ops import upsample_argmax
from danet_export.ops.execution import launch
from danet_export.ops.operator_parity import run_body
from danet_runtime.bundle.operators import OPERATORS

SPEC = OPERATORS["UpsampleArgmax"]


def attributes_of(size_hw, align_corners):
    return {"height": size_hw[0], "width": size_hw[1], "align_corners": int(align_corners)}


def run(logits, size_hw, align_corners):
    sizes = SPEC.sizes([logits.shape], attributes_of(size_hw, align_corners))
    spec = kernel.specify(sizes, ARCHITECTURES["sm_87"], "tuned")
    output = torch.full((logits.shape[0], *size_hw), -1.0, dtype=logits.dtype)
    launch(spec, logits, output)
    return output.double().numpy()


SHAPES = given(
    st.integers(1, 2),
    st.integers(1, 20),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 60), st.integers(1, 200)),
    st.booleans(),
    st.sampled_from([torch.float16, torch.bfloat16]),
    st.integers(0, 99),
)


def check(batch, classes, logits_hw, size_hw, align, dtype, seed):
    values = np.random.default_rng(seed).normal(0, 4, (batch, classes, *logits_hw))
    logits = torch.from_numpy(values).to(dtype)
    inputs = {"logits": logits.float().numpy()}
    expected = upsample_argmax.reference(inputs, attributes_of(size_hw, align), np.float32)
    assert np.array_equal(run(logits, size_hw, align), expected)


test_every_label_is_that_of_the_fp32_reference = settings(max_examples=8, deadline=None)(SHAPES(check))
test_many_times_every_label_is_that_of_the_fp32_reference = pytest.mark.slow(
    settings(max_examples=150, deadline=None)(SHAPES(check))
)


@pytest.mark.parametrize(
    ("logits_hw", "size_hw", "align"), [((16, 32), (128, 256), False), ((13, 25), (97, 193), True)]
)
def test_at_the_networks_own_ratio_the_labels_are_pytorchs(logits_hw, size_hw, align):
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 4, (1, 19, *logits_hw))).half()
    scores = torch.nn.functional.interpolate(logits.float(), size_hw, mode="bilinear", align_corners=align)
    assert (run(logits, size_hw, align) == scores.argmax(1).numpy()).mean() > 0.9999


@pytest.mark.parametrize(
    ("logits_hw", "size_hw", "align"), [((16, 32), (128, 256), False), ((13, 25), (97, 193), True)]
)
def test_labels_are_those_of_the_exported_fp16_body_on_999_of_1000_pixels(logits_hw, size_hw, align):
    logits = np.random.default_rng(0).normal(0, 4, (1, 19, *logits_hw)).astype(np.float16)
    attributes = attributes_of(size_hw, align)
    body = upsample_argmax.body(attributes)
    expected = run_body(
        body, {"x": logits}, SPEC.node_attributes(attributes), "fp16"
    )  # interpolates in true FP16
    assert len(np.unique(expected)) == 19
    assert (run(torch.from_numpy(logits), size_hw, align) == expected).mean() >= 0.999


def test_ties_go_to_the_lowest_class():
    assert not run(torch.ones((1, 5, 2, 3), dtype=torch.float16), (9, 17), False).any()
