"""L-BFGS SLOT: a convex problem, so the optimum is known; and the clamp and the warm start."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp
from torch import Tensor

from harness.kit.slot_lbfgs import LbfgsConfig, logit_delta
from tests.kit.slot_restated import VOCAB, error, random_model, tokens

FREE = LbfgsConfig(clip=1e9)


def loss(logits: np.ndarray, targets: np.ndarray, delta: np.ndarray) -> float:
    """Mean cross-entropy in nats."""
    z = logits.astype(np.float64) + delta
    return float((logsumexp(z, axis=1) - z[np.arange(len(targets)), targets]).mean())


@pytest.fixture(scope="module")
def rows() -> tuple[Tensor, Tensor]:
    """Soft-capped logits [90, V] and targets among which every token occurs, so that a finite optimum exists."""
    inputs, targets = tokens(3, 30)
    targets = targets.flatten().clone()
    targets[:VOCAB] = torch.arange(VOCAB)
    return random_model()(inputs).flatten(0, 1).detach(), targets


def optimum(logits: Tensor, targets: Tensor) -> np.ndarray:
    """The float64 optimum by scipy's L-BFGS-B."""
    z, y = logits.double().numpy(), targets.numpy()

    def value(delta: np.ndarray) -> tuple[float, np.ndarray]:
        return loss(z, y, delta), error(z + delta, y).mean(0)

    found = minimize(value, np.zeros(VOCAB), jac=True, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-10})
    assert np.abs(value(found.x)[1]).max() < 1e-6
    return found.x


@pytest.mark.parametrize(("iterations", "tolerance"), [(25, 1e-4), (200, 2e-6)])
def test_the_loss_ends_at_the_optimum(rows: tuple[Tensor, Tensor], iterations: int, tolerance: float) -> None:
    logits, targets = (part.numpy() for part in rows)
    best = loss(logits, targets, optimum(*rows))
    found = loss(logits, targets, logit_delta(*rows, replace(FREE, iterations=iterations)).numpy())
    assert best - 1e-6 < found < best + tolerance
    assert best < loss(logits, targets, np.zeros(VOCAB)) - 0.3


def test_on_rows_that_are_all_the_same_the_optimum_is_the_entropy_of_the_targets() -> None:
    counts = np.arange(1, VOCAB + 1)
    targets = torch.from_numpy(np.repeat(np.arange(VOCAB), counts))
    share = counts / counts.sum()
    base = torch.linspace(-2, 2, VOCAB)
    delta = logit_delta(base.expand(len(targets), -1), targets, replace(FREE, iterations=100)).double().numpy()
    entropy = -(share * np.log(share)).sum()
    assert loss(base.expand(len(targets), -1).numpy(), targets.numpy(), delta) == pytest.approx(entropy, abs=2e-6)
    shifted = base.double().numpy() + delta
    np.testing.assert_allclose(shifted - logsumexp(shifted), np.log(share), atol=5e-3)


def test_the_delta_is_clamped_once_at_the_end(rows: tuple[Tensor, Tensor]) -> None:
    free = logit_delta(*rows, FREE)
    assert free.abs().max() > 0.5
    assert torch.equal(logit_delta(*rows, replace(FREE, clip=0.5)), free.clamp(-0.5, 0.5))
    certain = logit_delta(torch.zeros(4, VOCAB), torch.arange(4), LbfgsConfig())
    assert certain[:4].tolist() == [5.0] * 4  # no finite optimum: what occurs is pushed against the clamp of #1350
    assert certain[4:].max() < -3


def test_a_warm_start_goes_on_from_the_previous_delta(rows: tuple[Tensor, Tensor]) -> None:
    logits, targets = (part.numpy() for part in rows)
    previous = torch.from_numpy(optimum(*rows)).float()
    assert torch.equal(logit_delta(*rows, replace(FREE, iterations=0), previous), previous)
    assert torch.equal(logit_delta(*rows, replace(FREE, iterations=0, warm=0.5), previous), 0.5 * previous)
    few = replace(FREE, iterations=2)
    warm = loss(logits, targets, logit_delta(*rows, few, previous).numpy())
    assert warm < loss(logits, targets, logit_delta(*rows, few).numpy()) - 1e-3
    assert warm == pytest.approx(loss(logits, targets, previous.numpy()), abs=1e-6)


def test_where_there_is_nothing_to_fit_the_start_comes_back() -> None:
    nothing = torch.zeros(0, VOCAB), torch.zeros(0, dtype=torch.int64)
    assert not logit_delta(*nothing, LbfgsConfig()).any()
    previous = torch.linspace(-1, 1, VOCAB)
    assert torch.equal(logit_delta(*nothing, LbfgsConfig(), previous), previous)
