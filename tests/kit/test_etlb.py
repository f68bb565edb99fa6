"""ETLB: gradient descent in float64, and the two places of the clamp."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.kit.etlb import EtlbConfig, logit_bias
from tests.kit.slot_restated import VOCAB, error, random_model, tokens


def restated(logits: np.ndarray, targets: np.ndarray, bias: np.ndarray, config: EtlbConfig) -> np.ndarray:
    for step in range(config.steps):
        bias = bias - config.lr * error(logits + bias, targets).mean(0)
        if config.clip_each_step or step == config.steps - 1:
            bias = np.clip(bias, -config.clip, config.clip)
    return bias


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize(("lr", "clip"), [(0.05, 3.0), (8.0, 0.3)])
def test_the_bias_is_gradient_descent_on_the_mean_loss(each: bool, lr: float, clip: float) -> None:
    config = EtlbConfig(lr=lr, clip=clip, clip_each_step=each)
    inputs, targets = tokens(2, 12)
    logits, y = random_model()(inputs).flatten(0, 1).detach(), targets.flatten()
    start = torch.linspace(-0.2, 0.2, VOCAB)
    found = logit_bias(logits, y, start, config)
    expected = restated(logits.double().numpy(), y.numpy(), start.double().numpy(), config)
    np.testing.assert_allclose(found.double().numpy(), expected, atol=2e-6)
    assert torch.equal(start, torch.linspace(-0.2, 0.2, VOCAB)) and not torch.equal(found, start)
    if clip < 1:  # where the clamp acts, it matters when
        other = EtlbConfig(lr=lr, clip=clip, clip_each_step=not each)
        assert not torch.allclose(logit_bias(logits, y, start, other), found, atol=1e-3)


def test_without_a_context_the_bias_stays() -> None:
    bias = torch.linspace(-1, 1, VOCAB)
    assert logit_bias(torch.zeros(0, VOCAB), torch.zeros(0, dtype=torch.int64), bias, EtlbConfig()) is bias
