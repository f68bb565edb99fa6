"""Averages of the weights over training that replace the weights at its end: EMA and SWA."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from harness.kit.config import TrainConfig


class Average(Protocol):
    """What the trainer does with an average."""

    def after_step(self, step: int, scale: float) -> None:
        """Look at the weights after `step` steps, the last of which had learning rates scaled by `scale`."""

    def apply(self) -> int:
        """Replace the weights by their average, if there is one; the number of states in it."""


class MovingAverage:
    """Exponential moving average of a model's trainable parameters, in float32, from their initial values."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._params = [param for param in model.parameters() if param.requires_grad]
        self._mean = [param.detach().float().clone() for param in self._params]
        self._states = 1

    @torch.no_grad()
    def after_step(self, step: int, scale: float) -> None:
        """Mean <- decay * mean + (1 - decay) * parameters, after every step."""
        for mean, param in zip(self._mean, self._params, strict=True):
            mean.lerp_(param.float(), 1 - self._decay)
        self._states += 1

    @torch.no_grad()
    def apply(self) -> int:
        """Replace the model's parameters by their mean; the number of states in it."""
        for mean, param in zip(self._mean, self._params, strict=True):
            param.copy_(mean)
        return self._states


class CheckpointMean:
    """Plain mean of checkpoints late in training, in float32 (stochastic weight averaging, arXiv:1803.05407).

    A checkpoint is taken after each step past the warm-up whose number is a multiple of `every` and whose learning
    rates were scaled by less than `below`, as in the contest's scripts (every 50 steps, below 0.2). Several of those
    (#1306, #1350) collect the checkpoints and never load their mean; here it is loaded.
    """

    def __init__(self, model: nn.Module, every: int, below: float, warmup_steps: int = 0) -> None:
        self._every, self._below, self._warmup_steps = every, below, warmup_steps
        self._params = [param for param in model.parameters() if param.requires_grad]
        self._sum = [torch.zeros_like(param, dtype=torch.float32) for param in self._params]
        self._states = 0

    @torch.no_grad()
    def after_step(self, step: int, scale: float) -> None:
        """Take a checkpoint where one is due."""
        if step % self._every or step <= self._warmup_steps or scale >= self._below:
            return
        for total, param in zip(self._sum, self._params, strict=True):
            total.add_(param)
        self._states += 1

    @torch.no_grad()
    def apply(self) -> int:
        """Replace the model's parameters by the mean of the checkpoints; without one they stay as they are."""
        if self._states:
            for total, param in zip(self._sum, self._params, strict=True):
                param.copy_(total / self._states)
        return self._states


def build_average(model: nn.Module, cfg: TrainConfig) -> Average | None:
    """The average that the settings ask for; None for the last step's weights."""
    if cfg.ema:
        return MovingAverage(model, cfg.ema)
    if cfg.swa_every:
        return CheckpointMean(model, cfg.swa_every, cfg.swa_below, cfg.warmup_steps)
    return None
