"""The shared training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn

from harness.kit.averages import build_average
from harness.kit.config import TrainConfig
from harness.kit.coprime import CoprimeLoader
from harness.kit.loader import Loader, SequentialLoader
from harness.kit.optim import Muon, build_optimizers
from harness.kit.schedule import lr_scale, muon_momentum, run_fraction


class HasLoss(Protocol):
    """What the trainer needs of a model besides being an `nn.Module`."""

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean negative log-likelihood in nats of int64 [B, L] targets, as a scalar."""


class HasProgress(Protocol):
    """What a model may have: it is told where training stands before every step.

    For what starts in mid-run: depth recurrence from a step (#1333) or from a fraction of the run on (#1394).
    """

    def progress(self, step: int, fraction: float) -> None:
        """Hear of the steps done so far and of the part of the run that is over, in [0, 1], by its schedule."""


@dataclass(frozen=True)
class TrainResult:
    """What a training run did.

    Attributes:
        steps: optimizer steps taken.
        seconds: wall-clock seconds of the loop.
        tokens: tokens trained on, counted once a step.
        final_loss: mean NLL of the last step's batch, in nats, before its update.
        stopped_by: "steps" or "clock".
        averaged: states in the average that became the weights; 0 when they are those of the last step.
    """

    steps: int
    seconds: float
    tokens: int
    final_loss: float
    stopped_by: Literal["steps", "clock"]
    averaged: int = 0


def build_loader(shards: Sequence[Path], cfg: TrainConfig, seed: int) -> Loader:
    """The loader that the settings ask for.

    Raises:
        ValueError: bad shards.
    """
    if cfg.loader == "coprime":
        return CoprimeLoader(shards, cfg.batch_tokens, cfg.sequence_length, seed)
    return SequentialLoader(shards, cfg.batch_tokens, cfg.sequence_length)


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
        model: has a `loss(inputs, targets)` method (see `HasLoss`), and perhaps a `progress(step, fraction)` method
            (see `HasProgress`), which is called before every step.
        shards: token shards, read in the order of their names or as the loader of the settings does.
        cfg: the settings.
        seed: seeds torch's generators before the first step (for models that draw while training), and the loader.
        notify: called about every `cfg.log_every` seconds and at the end, with step, steps, loss in nats, seconds and
            tokens.

    Raises:
        ValueError: bad shards, or a loss that is not finite.
    """
    torch.manual_seed(seed)
    loader = build_loader(shards, cfg, seed)
    optimizers = build_optimizers(model, cfg)
    average = build_average(model, cfg)
    params = [param for param in model.parameters() if param.requires_grad]
    device = params[0].device
    low = cfg.low_precision(device.type)
    compute_loss = cast(HasLoss, model).loss
    progress = cast(HasProgress, model).progress if hasattr(model, "progress") else None
    model.train()

    start = time.perf_counter()
    last_note, elapsed, step, loss_value = start, 0.0, 0, float("nan")
    stopped_by: Literal["steps", "clock"] = "steps"
    while step < cfg.steps:
        if progress is not None:
            progress(step, run_fraction(cfg, step, elapsed))
        scale = lr_scale(cfg, step, elapsed)
        _set_rates(optimizers, scale, muon_momentum(cfg, step))
        inputs, targets = (batch.to(device, non_blocking=True) for batch in loader.next_batch())
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            loss = compute_loss(inputs, targets)
        for param in params:
            param.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        if cfg.grad_clip > 0:
            torch.nn.utils.clip_grad_norm_(params, cfg.grad_clip)
        for optimizer in optimizers:
            optimizer.step()
        step += 1
        if average is not None:
            average.after_step(step, scale)
        elapsed = time.perf_counter() - start
        out_of_time = 0 < cfg.budget <= elapsed
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
    averaged = average.apply() if average is not None else 0
    if cfg.swa_every and not averaged:
        print("swa: no checkpoint was due before training ended; the weights are those of the last step")
    return TrainResult(step, elapsed, step * cfg.batch_tokens, loss_value, stopped_by, averaged)


def _set_rates(optimizers: list[torch.optim.Optimizer], scale: float, momentum: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * scale
            if isinstance(optimizer, Muon):
                group["momentum"] = momentum
