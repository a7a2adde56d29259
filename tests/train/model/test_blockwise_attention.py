"""Position attention by blocks of rows: the same values and gradients as the whole map, without the map."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danet_train.model.attention import ChannelAttention, PositionAttention, use_blockwise_attention
from danet_train.model.blockwise_attention import blockwise_context, energies


def _operands(batch, positions, inner, channels, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    shapes = (batch, positions, inner), (batch, inner, positions), (batch, channels, positions)
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


def _plain(query, key, value):
    return value @ torch.softmax(query @ key, dim=-1).transpose(1, 2)


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
def test_the_gradients_are_those_of_finite_differences(rows):
    operands = _operands(2, 7, 2, 3)
    assert torch.autograd.gradcheck(lambda *given: blockwise_context(*given, rows), operands)


@settings(deadline=None, max_examples=40)
@given(
    batch=st.integers(1, 3),
    positions=st.integers(1, 30),
    inner=st.integers(1, 5),
    channels=st.integers(1, 6),
    rows=st.integers(1, 40),
    seed=st.integers(0, 1000),
)
def test_values_and_gradients_are_the_whole_maps(batch, positions, inner, channels, rows, seed):
    operands = _operands(batch, positions, inner, channels, seed=seed)
    copies = [tensor.detach().clone().requires_grad_() for tensor in operands]
    above = torch.randn(batch, channels, positions, dtype=torch.float64)
    got, expected = blockwise_context(*operands, rows), _plain(*copies)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    got.backward(above)
    expected.backward(above)
    for one, other in zip(operands, copies, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
def test_lower_precisions_are_as_near_to_float64_as_the_whole_map(dtype, tolerance):
    exact = _operands(1, 130, 8, 16)
    above = torch.randn(1, 16, 130, dtype=torch.float64)
    _plain(*exact).backward(above)
    errors = {}
    for name, form in (("blocks", lambda *given: blockwise_context(*given, 32)), ("whole", _plain)):
        operands = [tensor.detach().to(dtype).requires_grad_() for tensor in exact]
        form(*operands).backward(above.to(dtype))
        errors[name] = [
            float((one.grad.double() - other.grad).norm() / other.grad.norm())
            for one, other in zip(operands, exact, strict=True)
        ]
    assert max(errors["blocks"]) < tolerance
    assert max(errors["blocks"]) <= 2 * max(errors["whole"]), errors


def test_energies_beyond_exp_s_range_give_a_softmax_and_no_nan():
    query = torch.full((1, 4, 1), 100.0, requires_grad=True)
    key = torch.tensor([[[1.0, 2.0, 30.0, -9.0]]], requires_grad=True)  # energies up to 3000
    value = torch.eye(4)[None].requires_grad_()
    context = blockwise_context(query, key, value, 3)
    torch.testing.assert_close(context[0, 2], torch.ones(4))
    context.sum().backward()
    assert all(torch.isfinite(t.grad).all() for t in (query, key, value))


def _modules(**state):
    torch.manual_seed(1)
    plain = PositionAttention(16, 4)
    torch.nn.init.constant_(plain.gamma.scale, 0.7)
    blockwise = PositionAttention(16, 4)
    blockwise.load_state_dict(plain.state_dict())
    use_blockwise_attention(blockwise, 10)
    return plain, blockwise


@pytest.mark.parametrize("precision", [None, torch.bfloat16, torch.float16])
def test_the_module_agrees_in_value_and_in_every_gradient_gamma_included(precision):
    plain, blockwise = _modules()
    assert blockwise.block_rows == 10
    x = torch.randn(2, 16, 5, 7)
    grads = []
    for module in (plain, blockwise):
        inputs = x.clone().requires_grad_()
        with torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
            out = module(inputs)
        (out.float() * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        grads.append([out.detach().float(), inputs.grad, *(p.grad for p in module.parameters())])
    tolerance = {None: 1e-5, torch.bfloat16: 0.05, torch.float16: 0.01}[precision]
    for one, other in zip(*grads, strict=True):
        # The keys' bias shifts whole rows, which a softmax does not see: its gradient is rounding alone.
        assert float((one - other).norm()) <= tolerance * max(float(other.norm()), 0.2)
    # The scale's gradient counts the context once: d/dgamma of <w, gamma * context + x>.
    context = (grads[0][0] - x) / 0.7
    expected = float((context * torch.linspace(-1, 1, context.numel()).view_as(context)).sum())
    assert math.isclose(float(blockwise.gamma.scale.grad), expected, rel_tol=max(tolerance, 1e-4))


def test_a_state_dict_tells_nothing_of_the_kind_of_attention():
    plain, blockwise = _modules()
    assert list(plain.state_dict()) == list(blockwise.state_dict())


def test_no_tensor_of_n_by_n_is_kept_or_made():
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            nonlocal largest
            out = function(*arguments, **(options or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.numel())
            return out

    operands = _operands(1, 400, 2, 4, torch.float32)
    with Watch():
        blockwise_context(*operands, 16).sum().backward()
    assert largest == 16 * 400


@pytest.mark.parametrize("kind", ["position", "channel"])
def test_energies_that_float16_cannot_hold_are_kept_in_float32_under_its_autocast(kind):
    module = PositionAttention(8, 8) if kind == "position" else ChannelAttention()
    torch.nn.init.ones_(module.gamma.scale)
    x = torch.randn(1, 8, 10, 10) * 100  # channels' energies near a million
    with torch.autocast("cpu", torch.float16):
        assert torch.isfinite(module(x.half())).all()
        assert energies(x.flatten(2).half(), x.flatten(2).transpose(1, 2).half()).dtype == torch.float32
    assert energies(x.flatten(2), x.flatten(2).transpose(1, 2)).dtype == torch.float32
