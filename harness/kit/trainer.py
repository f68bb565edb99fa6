"""The shared training loop: schedules, wall-clock cap, moving average of the weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn

from harness.kit.config import TrainConfig
from harness.kit.loader import SequentialLoader
from harness.kit.optim import Muon, build_optimizers


class HasLoss(Protocol):
    """What the trainer needs of a model besides being an `nn.Module`."""

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean negative log-likelihood in nats of int64 [B, L] targets, as a scalar."""


@dataclass(frozen=True)
class TrainResult:
    """What a training run did.

    Attributes:
        steps: optimizer steps taken.
        seconds: wall-clock seconds of the loop.
        tokens: tokens trained on, counted once a step.
        final_loss: mean NLL of the last step's batch, in nats, before its update.
        stopped_by: "steps" or "clock".
    """

    steps: int
    seconds: float
    tokens: int
    final_loss: float
    stopped_by: Literal["steps", "clock"]


def lr_scale(cfg: TrainConfig, step: int, elapsed: float) -> float:
    """Factor of every learning rate: linear warm-up, then 1, then a linear warm-down to `cfg.min_lr`.

    Args:
        cfg: the schedule.
        step: steps done so far.
        elapsed: seconds of training so far; used by the schedule "clock" only.

    Returns:
        a number in [min_lr, 1] after the warm-up. By steps, the first step of a warm-down of W steps has factor
        W/W = 1 and the last 1/W (for min_lr 0). By the clock, W steps are W times the mean step so far, as in the
        contest's baseline.
    """
    warmup = min(1.0, (step + 1) / cfg.warmup_steps) if cfg.warmup_steps else 1.0
    if cfg.warmdown == 0:
        return warmup
    if cfg.schedule == "steps":
        length = cfg.warmdown * cfg.steps if cfg.warmdown <= 1 else cfg.warmdown
        left = float(cfg.steps - step)
    else:
        length = cfg.warmdown * (cfg.seconds if cfg.warmdown <= 1 else elapsed / max(step, 1))
        left = max(cfg.seconds - elapsed, 0.0)
    down = left / length if left < length else 1.0
    return warmup * (cfg.min_lr + (1 - cfg.min_lr) * down)


def muon_momentum(cfg: TrainConfig, step: int) -> float:
    """Muon's momentum after `step` steps: linear from `muon_momentum_start` to `muon_momentum`."""
    part = min(step / cfg.muon_momentum_steps, 1.0) if cfg.muon_momentum_steps else 1.0
    return (1 - part) * cfg.muon_momentum_start + part * cfg.muon_momentum


class Average:
    """Exponential moving average of a model's trainable parameters, in float32, from their initial values."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._params = [param for param in model.parameters() if param.requires_grad]
        self._mean = [param.detach().float().clone() for param in self._params]

    @torch.no_grad()
    def update(self) -> None:
        """Mean <- decay * mean + (1 - decay) * parameters."""
        for mean, param in zip(self._mean, self._params, strict=True):
            mean.lerp_(param.float(), 1 - self._decay)

    @torch.no_grad()
    def apply(self) -> None:
        """Replace the model's parameters by their mean."""
        for mean, param in zip(self._mean, self._params, strict=True):
            param.copy_(mean)


def train(
    model: nn.Module,
    shards: Sequence[Path],
    cfg: TrainConfig,
    *,
    seed: int,
    notify: Callable[[dict[str, float]], None] = lambda numbers: None,
) -> TrainResult:
    """Train a model in place, on the device that it is on.

    With the schedule "steps" and no clock (`cfg.seconds` 0) the result depends only on the initial weights, the shards,
    the settings and the seed: the same machine and thread count give the same weights, bit for bit.

    Args:
        model: has a `loss(inputs, targets)` method (see `HasLoss`).
        shards: token shards, read in the order of their names.
        cfg: the settings.
        seed: seeds torch's generators before the first step (for models that draw while training).
        notify: called about every `cfg.log_every` seconds and at the end, with step, steps, loss in nats, seconds and
            tokens.

    Raises:
        ValueError: bad shards, or a loss that is not finite.
    """
    torch.manual_seed(seed)
    loader = SequentialLoader(shards, cfg.batch_tokens, cfg.sequence_length)
    optimizers = build_optimizers(model, cfg)
    average = Average(model, cfg.ema) if cfg.ema else None
    params = [param for param in model.parameters() if param.requires_grad]
    device = params[0].device
    compute_loss = cast(HasLoss, model).loss
    model.train()

    start = time.perf_counter()
    last_note, elapsed, step, loss_value = start, 0.0, 0, float("nan")
    stopped_by: Literal["steps", "clock"] = "steps"
    while step < cfg.steps:
        scale = lr_scale(cfg, step, elapsed)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * scale
                if isinstance(optimizer, Muon):
                    group["momentum"] = muon_momentum(cfg, step)
        inputs, targets = (batch.to(device, non_blocking=True) for batch in loader.next_batch())
        with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
            loss = compute_loss(inputs, targets)
        for param in params:
            param.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        if cfg.grad_clip > 0:
            torch.nn.utils.clip_grad_norm_(params, cfg.grad_clip)
        for optimizer in optimizers:
            optimizer.step()
        if average is not None:
            average.update()
        step += 1
        elapsed = time.perf_counter() - start
        out_of_time = 0 < cfg.seconds <= elapsed
        note_due = time.perf_counter() - last_note >= cfg.log_every
        if note_due or out_of_time or step == cfg.steps:
            loss_value = float(loss.detach())
            if loss_value != loss_value or loss_value in (float("inf"), float("-inf")):
                raise ValueError(f"training diverged: the loss is {loss_value} at step {step}")
            last_note = time.perf_counter()
            elapsed = last_note - start
            tokens = step * cfg.batch_tokens
            notify({"step": step, "steps": cfg.steps, "loss": loss_value, "seconds": elapsed, "tokens": tokens})
        if out_of_time and step < cfg.steps:
            stopped_by = "clock"
            break
    if average is not None:
        average.apply()
    return TrainResult(step, elapsed, step * cfg.batch_tokens, loss_value, stopped_by)
