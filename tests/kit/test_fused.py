"""Hand-written gradients against the plain forms that they stand for."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.kit.attention import causal_attention
from harness.kit.fused import rms_norm, squared_relu, turn
from harness.kit.loss import softcap_cross_entropy


def plain_norm(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps)


def plain_turn(x: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    cos, sin = tables(x)
    return torch.cat((a * cos + b * sin, b * cos - a * sin), -1)


def tables(x: Tensor) -> tuple[Tensor, Tensor]:
    angle = torch.arange(x.size(-1) // 2, dtype=x.dtype) + 0.3
    return angle.cos(), angle.sin()


PAIRS = {
    "rms_norm": (rms_norm, plain_norm),
    "squared_relu": (squared_relu, lambda x: x.relu().square()),
    "turn": (lambda x: turn(x, *tables(x)), plain_turn),
}


@pytest.mark.parametrize("name", PAIRS)
def test_values_and_both_derivatives_are_the_plain_forms(name):
    ours, plain = PAIRS[name]
    x = torch.randn(3, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    torch.testing.assert_close(ours(x), plain(x), rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(ours, (x,))
    assert torch.autograd.gradgradcheck(ours, (x,))


@pytest.mark.parametrize("name", PAIRS)
def test_functional_transforms_reach_through(name):
    ours, plain = PAIRS[name]
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(2))

    def gradients(function):
        return torch.func.vmap(torch.func.grad(lambda row: (function(row) ** 3).sum()))(x)

    torch.testing.assert_close(gradients(ours), gradients(plain), rtol=1e-5, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(
    rows=st.integers(1, 5), pairs=st.integers(1, 9), scale=st.floats(1e-4, 1e4), angle=st.floats(-7, 7),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_a_turn_keeps_lengths_and_turns_back(rows, pairs, scale, angle, seed):
    x = scale * torch.randn(rows, 2 * pairs, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    angles = torch.full((pairs,), angle, dtype=torch.float64)
    turned = turn(x, angles.cos(), angles.sin())
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(turn(turned, angles.cos(), -angles.sin()), x, rtol=1e-9, atol=1e-9 * scale)


def test_a_small_bfloat16_embedding_is_normalised_too():
    x = (0.005 * torch.randn(4, 64, generator=torch.Generator().manual_seed(3))).bfloat16()
    normed = rms_norm(x)
    assert normed.dtype == torch.bfloat16
    # bfloat16's own epsilon would leave a root mean square of 0.06
    torch.testing.assert_close(normed.float().square().mean(-1), torch.ones(4), rtol=0.02, atol=0)


def test_rows_of_zeros_stay_so_and_have_a_gradient():
    x = torch.zeros(2, 4, requires_grad=True)
    rms_norm(x).sum().backward()
    assert torch.equal(rms_norm(x), torch.zeros(2, 4)) and x.grad is not None and torch.isfinite(x.grad).all()


@pytest.mark.parametrize("cap", [1.0, 30.0, 500.0])
def test_the_chunked_loss_holds_out_with_logits_at_the_cap(cap):
    hidden = torch.tensor([[-1e4], [1e4], [0.0]], requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0], [0.5]], requires_grad=True)
    targets = torch.tensor([0, 0, 2])
    expected = F.cross_entropy((cap * torch.tanh(hidden.double() @ weight.double().T / cap)), targets)
    loss = softcap_cross_entropy(hidden, weight, targets, cap)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert all(torch.isfinite(grad).all() for grad in torch.autograd.grad(loss, (hidden, weight)))


def test_the_loss_of_bfloat16_is_near_that_of_float32():
    generator = torch.Generator().manual_seed(4)
    hidden = torch.randn(300, 32, generator=generator)
    weight = (0.5 * torch.randn(50, 32, generator=generator)).requires_grad_()
    targets = torch.randint(50, (300,), generator=generator)
    losses, hidden_grads, weight_grads = [], [], []
    for dtype in (torch.float32, torch.bfloat16):
        given_hidden = hidden.to(dtype).requires_grad_()
        loss = softcap_cross_entropy(given_hidden, weight, targets, 30.0)
        grads = torch.autograd.grad(loss, (given_hidden, weight))
        assert loss.dtype == torch.float32 and grads[0].dtype == dtype and grads[1].dtype == torch.float32
        losses.append(loss.item())
        hidden_grads.append(grads[0].float())
        weight_grads.append(grads[1])
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)
    for exact, low in (hidden_grads, weight_grads):
        assert (low - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (6, 2), (4, 1)])
@pytest.mark.parametrize("length", [2, 17, 600])
def test_attention_in_bfloat16_is_near_that_of_float32(heads, kv_heads, length):
    generator = torch.Generator().manual_seed(heads)
    q, k, v = (torch.randn(2, length, count, 8, generator=generator) for count in (heads, kv_heads, kv_heads))
    exact = causal_attention(q, k, v)
    low = causal_attention(*(x.bfloat16() for x in (q, k, v)))
    assert low.dtype == torch.bfloat16
    assert (low.float() - exact).abs().max() < 0.05


def test_attention_in_bfloat16_does_not_see_the_future():
    generator = torch.Generator().manual_seed(5)
    q, k, v = (torch.randn(1, 20, 2, 8, generator=generator).bfloat16() for _ in range(3))
    before = causal_attention(q, k, v)
    k[:, 11:], v[:, 11:] = 1e4, 7.0
    assert torch.equal(causal_attention(q, k, v)[:, :11], before[:, :11])
