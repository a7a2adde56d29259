"""The PyTorch operators without a GPU: their refusals, and the plain operators on request."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")

from danet_export.ops import channel_energy, position_attention, upsample_argmax
from danet_export.ops.execution import KernelInputError, plain_ops


def half(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 1, shape)).half()


def inputs():
    return half(2, 8, 5, 7), half(2, 8, 5, 7, seed=1), half(2, 16, 5, 7, seed=2), half(2, 16, 5, 7, seed=3)


def relative_error(got, expected):
    return np.linalg.norm(got.double().numpy() - expected) / np.linalg.norm(expected)


def test_a_cpu_tensor_is_refused_unless_plain_ops_were_asked_for():
    with pytest.raises(KernelInputError, match=r"on cpu.*plain_ops"):
        torch.ops.danet.position_attention(*inputs())
    with pytest.raises(KernelInputError, match="plain_ops"):
        torch.ops.danet.channel_energy(half(1, 4, 3, 3), 1)
    with pytest.raises(KernelInputError, match="plain_ops"):
        torch.ops.danet.upsample_argmax(half(1, 4, 3, 3), 9, 9, False)


def test_plain_ops_are_the_references():
    q, k, v, x = inputs()
    with plain_ops():
        attended = torch.ops.danet.position_attention(q, k, v, x)
        energy = torch.ops.danet.channel_energy(v, 3)
        labels = torch.ops.danet.upsample_argmax(v, 40, 56, False)
    arrays = {name: part.double().numpy() for name, part in zip("qkvx", (q, k, v, x), strict=True)}
    assert relative_error(attended, position_attention.reference(arrays, {})) < 1e-3
    assert relative_error(energy, channel_energy.reference({"x": arrays["v"]}, {"slices": 3})) < 1e-6
    size = {"height": 40, "width": 56, "align_corners": 0}
    assert (labels.numpy() == upsample_argmax.reference({"logits": arrays["v"]}, size)).mean() > 0.999
    assert labels.dtype == torch.float16
    with pytest.raises(KernelInputError):
        torch.ops.danet.channel_energy(v, 3)


def test_fake_tensors_have_the_shapes_of_real_ones():
    real = [*inputs()]
    with FakeTensorMode() as mode:
        q, k, v, x = (mode.from_tensor(part) for part in real)
        assert torch.ops.danet.position_attention(q, k, v, x).shape == v.shape
        energy = torch.ops.danet.channel_energy(v, 3)
        assert (energy.shape, energy.dtype) == ((2, 3, 16, 16), torch.float32)
        labels = torch.ops.danet.upsample_argmax(v, 40, 56, True)
        assert (labels.shape, labels.dtype) == ((2, 40, 56), torch.float16)


@pytest.mark.parametrize(
    ("position", "change", "message"),
    [
        (1, lambda t: t[:, :4].contiguous(), "key must have the query's shape"),
        (2, lambda t: t[:1], "residual must have the value's shape"),
        (3, lambda t: t.bfloat16(), r"residual must be torch.float16 on cpu"),
        (0, lambda t: t.float(), "query must be of type float16 or bfloat16"),
        (0, lambda t: t.flatten(2), r"query must be four dimensions"),
        (2, lambda t: t.transpose(2, 3), "value must be contiguous"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(position, change, message):
    tensors = [*inputs()]
    tensors[position] = change(tensors[position])
    with plain_ops(), pytest.raises(KernelInputError, match=message):
        torch.ops.danet.position_attention(*tensors)


def test_a_class_index_that_is_not_exact_is_refused():
    with plain_ops(), pytest.raises(KernelInputError, match="at most 256 classes"):
        torch.ops.danet.upsample_argmax(half(1, 257, 2, 2).bfloat16(), 4, 4, False)
    with plain_ops(), pytest.raises(KernelInputError, match=r"must be 1 to 9"):
        torch.ops.danet.channel_energy(half(1, 4, 3, 3), 10)
