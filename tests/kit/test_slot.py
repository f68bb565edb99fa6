"""SLOT by AdamW: the optimiser against its formulas, and which targets enter which vector."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.kit.model import GPT
from harness.kit.slot import SlotConfig, biased_logits, context_delta, scored_delta, shifted_logits
from harness.kit.windows import Window, sliding
from tests.kit.slot_restated import DIM, VOCAB, Head, adamw, random_model, tokens

SCHEDULED = SlotConfig(steps=12, lr=0.05, lr_end=0.004, betas=(0.6, 0.95), eps=1e-6, weight_decay=0.1)
BEFORE = SlotConfig(steps=16, lr=0.008, before_norm=True)  # PR #1333


@pytest.fixture(scope="module")
def model() -> GPT:
    return random_model()


@pytest.fixture
def rows(model: GPT) -> tuple[Tensor, Tensor]:
    """Hidden states [3, 10, D] and targets [3, 10] of three windows."""
    inputs, targets = tokens(3, 10)
    return model.hidden(inputs), targets


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


@pytest.mark.parametrize("config", [SlotConfig(), SCHEDULED])
def test_context_delta_is_adamw_on_the_mean_loss(model: GPT, rows: tuple[Tensor, Tensor], config: SlotConfig) -> None:
    hidden, targets = rows[0].flatten(0, 1), rows[1].flatten()
    delta = context_delta(model, hidden, targets, config)
    head, h, y = Head(model), hidden.double().numpy(), targets.numpy()
    (expected,) = adamw([np.zeros(DIM)], lambda at: [head.back(h + at[0], y)[0].mean(0)], config)
    assert delta.shape == (DIM,) and np.abs(expected).max() > 0.01
    np.testing.assert_allclose(delta.double().numpy(), expected, atol=2e-5)


def test_a_delta_before_the_final_norm(model: GPT) -> None:
    inputs, targets = (part.flatten(0, 1) for part in tokens(3, 10))
    hidden = model.body(inputs.view(3, 10)).flatten(0, 1)
    delta = context_delta(model, hidden, targets, BEFORE)
    head, x, y = Head(model), hidden.double().numpy(), targets.numpy()
    (expected,) = adamw([np.zeros(DIM)], lambda at: [head.back_from_before_norm(x + at[0], y).mean(0)], BEFORE)
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(delta.double().numpy(), expected, atol=2e-5)
    # and the rows are scored the same way round: what the norm takes out of a hidden state it takes out of the sum
    assert torch.equal(shifted_logits(model, hidden, torch.zeros(DIM), BEFORE), model(inputs.view(3, 10)).flatten(0, 1))
    scaled = shifted_logits(model, 2 * hidden, 2 * delta, BEFORE)
    assert torch.allclose(scaled, shifted_logits(model, hidden, delta, BEFORE), atol=1e-4)
    assert not torch.allclose(scaled, shifted_logits(model, hidden, delta, SlotConfig()), atol=1e-2)


def test_context_delta_lowers_the_loss_that_it_sees(model: GPT, rows: tuple[Tensor, Tensor]) -> None:
    hidden, targets = rows[0].flatten(0, 1), rows[1].flatten()
    delta = context_delta(model, hidden, targets, SlotConfig(steps=16, lr=0.02))
    loss = torch.nn.functional.cross_entropy
    assert loss(model.head(hidden + delta), targets) < loss(model.head(hidden), targets) - 0.01


def test_without_targets_the_delta_is_its_start(model: GPT) -> None:
    nothing = torch.zeros(0, DIM), torch.zeros(0, dtype=torch.int64)
    delta = context_delta(model, *nothing, SlotConfig())
    assert delta.shape == (DIM,) and not delta.any() and not delta.requires_grad
    warm = context_delta(model, *nothing, SlotConfig(warm=0.5), torch.ones(DIM))
    assert warm.tolist() == [0.5] * DIM


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
    mask[0] = True  # as in a stream's first window
    return mask


def restated_scored(
    model: GPT, hidden: Tensor, targets: Tensor, mask: Tensor, config: SlotConfig, starts: list[np.ndarray]
) -> list[np.ndarray]:
    """PR #1229: a delta and a bias per window, the loss a mean over all masked positions of the batch."""
    head, h, y, m = Head(model), hidden.double().numpy(), targets.numpy(), mask.numpy()

    def gradients(at: list[np.ndarray]) -> list[np.ndarray]:
        delta, bias = np.zeros_like(at[0]), np.zeros_like(at[1])
        for window, seen in enumerate(m):
            by_h, by_bias = head.back(h[window, seen] + at[0][window], y[window, seen], at[1][window])
            delta[window], bias[window] = by_h.sum(0) / m.sum(), by_bias.sum(0) / m.sum()
        return [delta, bias]

    return adamw(starts, gradients, config)


def test_scored_delta_is_adamw_on_the_mean_loss_of_the_batch(model: GPT, rows: tuple[Tensor, Tensor]) -> None:
    config = SlotConfig(steps=16, lr=0.008, lr_end=0.0008, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01)
    delta, bias = scored_delta(model, *rows, last_three(), config)
    expected = restated_scored(model, *rows, last_three(), config, [np.zeros((3, 1, DIM)), np.zeros((3, 1, VOCAB))])
    for value, restated in zip((delta, bias), expected, strict=True):
        assert np.abs(restated).max() > 0.04
        np.testing.assert_allclose(value.double().numpy(), restated, atol=2e-5)


def test_a_warm_start_begins_at_a_part_of_the_previous_vectors(model: GPT, rows: tuple[Tensor, Tensor]) -> None:
    config = SlotConfig(steps=6, lr=0.01, lr_end=0.001, betas=(0.9, 0.999), eps=1e-6, warm=0.85)  # PR #1319
    generator = torch.Generator().manual_seed(2)
    previous = torch.randn(3, 1, DIM, generator=generator), torch.randn(3, 1, VOCAB, generator=generator)
    kept = tuple(value.clone() for value in previous)
    found = scored_delta(model, *rows, last_three(), config, previous)
    starts = [0.85 * value.double().numpy() for value in previous]
    for value, restated in zip(found, restated_scored(model, *rows, last_three(), config, starts), strict=True):
        np.testing.assert_allclose(value.double().numpy(), restated, atol=2e-5)
    assert all(torch.equal(value, before) for value, before in zip(previous, kept, strict=True))
    still = SlotConfig(steps=0, warm=0.85)
    assert torch.equal(scored_delta(model, *rows, last_three(), still, previous)[0], 0.85 * previous[0])
    # the last batch of a stream is smaller, and begins from zero; so does one without a share
    two = tuple(value[:2] for value in previous)
    cold = scored_delta(model, *rows, last_three(), SlotConfig(steps=6, lr=0.01, lr_end=0.001))
    for other in (two, None):
        again = scored_delta(model, *rows, last_three(), SlotConfig(steps=6, lr=0.01, lr_end=0.001, warm=0.85), other)
        assert torch.equal(again[0], cold[0]) and torch.equal(again[1], cold[1])
    shareless = scored_delta(model, *rows, last_three(), SlotConfig(steps=6, lr=0.01, lr_end=0.001), previous)
    assert torch.equal(shareless[0], cold[0])


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
