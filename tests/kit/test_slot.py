"""SLOT's three forms: the optimiser against its formulas, and which targets enter which vector."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.kit.config import ModelConfig
from harness.kit.model import GPT
from harness.kit.slot import SlotConfig, biased_logits, context_delta, scored_delta
from harness.kit.windows import Window, sliding

VOCAB, DIM = 23, 16
SCHEDULED = SlotConfig(steps=12, lr=0.05, lr_end=0.004, betas=(0.6, 0.95), eps=1e-6, weight_decay=0.1)


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(3)
    gpt = GPT(ModelConfig(vocab_size=VOCAB, layers=2, dim=DIM, heads=2, kv_heads=1))
    for parameter in gpt.parameters():  # the residual projections start at zero: without this nothing would mix
        torch.nn.init.normal_(parameter, std=0.3)
    return gpt.requires_grad_(False)


@pytest.fixture
def rows(model: GPT) -> tuple[Tensor, Tensor]:
    """Hidden states [3, 10, D] and targets [3, 10] of three windows."""
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(VOCAB, (3, 11), generator=generator)
    return model.hidden(ids[:, :-1]), ids[:, 1:]


def test_a_constant_rate() -> None:
    config = SlotConfig(steps=7, lr=0.02)
    assert {config.rate(step) for step in range(7)} == {0.02}


@given(st.integers(1, 200), st.floats(1e-4, 1.0), st.floats(1e-5, 1.0), st.data())
def test_the_cosine_schedule(steps: int, lr: float, end: float, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, steps))
    rate = SlotConfig(steps=steps, lr=lr, lr_end=end).rate(step)
    # cos(a) = 2 cos^2(a / 2) - 1, so the schedule is a convex combination of its ends
    weight = math.cos(math.pi * step / (2 * steps)) ** 2
    assert rate == pytest.approx(weight * lr + (1 - weight) * end, rel=1e-9, abs=1e-12)


def test_the_schedule_starts_at_lr_and_never_quite_ends() -> None:
    rates = [SCHEDULED.rate(step) for step in range(SCHEDULED.steps)]
    assert rates[0] == SCHEDULED.lr and rates == sorted(rates, reverse=True) and rates[-1] > 0.004


def restated(model: GPT, hidden: Tensor, targets: Tensor, config: SlotConfig) -> np.ndarray:
    """AdamW (Loshchilov and Hutter, 2019) on the mean cross-entropy, in float64, gradient by hand."""
    weight = model.head_weight.double().numpy()
    h, y, cap = hidden.double().numpy(), targets.numpy(), model.cfg.softcap
    delta = np.zeros(h.shape[1])
    first, second = np.zeros_like(delta), np.zeros_like(delta)
    for step in range(config.steps):
        tanh = np.tanh((h + delta) @ weight.T / cap)
        logits = cap * tanh
        grad = np.exp(logits - logits.max(1, keepdims=True))
        grad /= grad.sum(1, keepdims=True)
        grad[np.arange(len(y)), y] -= 1
        g = ((grad / len(y)) * (1 - tanh**2) @ weight).sum(0)
        rate, (b1, b2) = config.rate(step), config.betas
        delta = delta * (1 - rate * config.weight_decay)
        first, second = b1 * first + (1 - b1) * g, b2 * second + (1 - b2) * g**2
        bias1, bias2 = 1 - b1 ** (step + 1), 1 - b2 ** (step + 1)
        delta = delta - rate * (first / bias1) / (np.sqrt(second / bias2) + config.eps)
    return delta


@pytest.mark.parametrize("config", [SlotConfig(), SCHEDULED])
def test_context_delta_is_adamw_on_the_mean_loss(model: GPT, rows: tuple[Tensor, Tensor], config: SlotConfig) -> None:
    hidden, targets = rows[0].flatten(0, 1), rows[1].flatten()
    delta = context_delta(model, hidden, targets, config)
    expected = restated(model, hidden, targets, config)
    assert delta.shape == (DIM,) and np.abs(expected).max() > 0.01
    np.testing.assert_allclose(delta.double().numpy(), expected, atol=2e-5)


def test_context_delta_lowers_the_loss_that_it_sees(model: GPT, rows: tuple[Tensor, Tensor]) -> None:
    hidden, targets = rows[0].flatten(0, 1), rows[1].flatten()
    delta = context_delta(model, hidden, targets, SlotConfig(steps=16, lr=0.02))
    loss = torch.nn.functional.cross_entropy
    assert loss(model.head(hidden + delta), targets) < loss(model.head(hidden), targets) - 0.01


def test_without_targets_the_delta_is_zero(model: GPT) -> None:
    delta = context_delta(model, torch.zeros(0, DIM), torch.zeros(0, dtype=torch.int64), SlotConfig())
    assert delta.shape == (DIM,) and not delta.any() and not delta.requires_grad


def test_the_model_is_not_touched(model: GPT, rows: tuple[Tensor, Tensor]) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    hidden, targets = rows
    context_delta(model, hidden[0], targets[0], SlotConfig())
    scored_delta(model, hidden, targets, torch.ones(3, 10, dtype=torch.bool), SlotConfig())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def last_three() -> Tensor:
    mask = torch.zeros(3, 10, dtype=torch.bool)
    mask[:, 7:] = True
    return mask


def test_scored_delta_sees_masked_positions_only(model: GPT, rows: tuple[Tensor, Tensor]) -> None:
    hidden, targets = rows
    mask = last_three()
    delta, bias = scored_delta(model, hidden, targets, mask, SCHEDULED)
    assert delta.shape == (3, 1, DIM) and bias.shape == (3, 1, VOCAB)
    elsewhere = torch.where(mask, targets, (targets + 5) % VOCAB)
    moved = torch.where(mask[..., None], hidden, hidden + 1.0)
    for other in (
        scored_delta(model, hidden, elsewhere, mask, SCHEDULED),
        scored_delta(model, moved, targets, mask, SCHEDULED),
    ):
        assert torch.equal(other[0], delta) and torch.equal(other[1], bias)


def test_scored_delta_is_one_per_window_and_holds_the_answers(model: GPT, rows: tuple[Tensor, Tensor]) -> None:
    hidden, targets = rows
    mask = last_three()
    delta, bias = scored_delta(model, hidden, targets, mask, SCHEDULED)
    changed = targets.clone()
    changed[1, 8] = (changed[1, 8] + 1) % VOCAB
    other_delta, other_bias = scored_delta(model, hidden, changed, mask, SCHEDULED)
    same = [torch.equal(delta[i], other_delta[i]) and torch.equal(bias[i], other_bias[i]) for i in range(3)]
    assert same == [True, False, True]
    assert bias[1, 0, targets[1, 8]] > other_bias[1, 0, targets[1, 8]]  # the answer is in the vector


def test_the_bias_goes_in_before_the_cap(model: GPT, rows: tuple[Tensor, Tensor]) -> None:
    huge = torch.full((VOCAB,), 1e4)
    logits = biased_logits(model, rows[0], huge)
    assert torch.allclose(logits, torch.full_like(logits, model.cfg.softcap))
    assert torch.equal(biased_logits(model, rows[0], torch.zeros(VOCAB)), model.head(rows[0]))


def delta_of_window(model: GPT, stream: Tensor, window: Window) -> Tensor:
    """What a submission with one delta per window does: fit to the targets that are scored already."""
    hidden = model.hidden(stream[None, window.start : window.start + window.size])[0]
    targets = stream[window.start + 1 : window.start + 1 + window.first]
    return context_delta(model, hidden[: window.first], targets, SlotConfig())


def delta_of_batch(model: GPT, stream: Tensor, windows: list[Window]) -> Tensor:
    """PR #1306: one delta for all windows of a batch."""
    hidden = [model.hidden(stream[None, w.start : w.start + w.size])[0, : w.first] for w in windows]
    targets = [stream[w.start + 1 : w.start + 1 + w.first] for w in windows]
    return context_delta(model, torch.cat(hidden), torch.cat(targets), SlotConfig())


def test_a_delta_per_window_is_causal_and_one_per_batch_is_not(model: GPT) -> None:
    stream = torch.randint(VOCAB, (33,), generator=torch.Generator().manual_seed(8))
    windows = list(sliding(32, 12, 4))[1:4]
    first = windows[0]
    unscored = first.start + 1 + first.first  # the first position that the batch is to score
    lie = stream.clone()
    lie[unscored:] = (lie[unscored:] + 1) % VOCAB
    assert torch.equal(delta_of_window(model, stream, first), delta_of_window(model, lie, first))
    assert not torch.equal(delta_of_batch(model, stream, windows), delta_of_batch(model, lie, windows))
    assert not torch.equal(delta_of_window(model, stream, windows[1]), delta_of_window(model, lie, windows[1]))
