"""Pre-quantization test-time training: AdamW on the trained weights before they are quantized (#1006, #1306, #1554).

The tokens decide what it is. On a slice of the training data (#1554) it is more training. On the validation data (#1306
and its like) it is training on the test set: the artifact then depends on the text that it is scored on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from harness.kit.config import is_control
from harness.kit.loader import open_shards
from harness.kit.trainer import HasLoss


@dataclass(frozen=True)
class PrequantConfig:
    """How the trained weights are adapted. The defaults are those of #1306, but that nothing is frozen.

    Attributes:
        epochs: passes over the tokens.
        lr: AdamW's learning rate in the first epoch ...
        lr_end: ... from which it falls along a cosine, epoch by epoch, towards this fraction of it.
        sequence_length: tokens a sequence.
        batch_sequences: sequences a step; the last step of an epoch may have fewer.
        freeze_blocks: the first so many of `model.blocks` keep their weights.
        grad_clip: largest global gradient norm; 0 turns clipping off.
        betas: AdamW's averaging factors.
        eps: AdamW's epsilon.
        weight_decay: AdamW's decoupled weight decay.
    """

    epochs: int = 6
    lr: float = 5e-4
    lr_end: float = 0.1
    sequence_length: int = 2048
    batch_sequences: int = 32
    freeze_blocks: int = 0
    grad_clip: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Reject settings without meaning (ValueError)."""
        if min(self.epochs, self.sequence_length, self.batch_sequences) < 1:
            raise ValueError("PrequantConfig: epochs, sequence_length and batch_sequences must be at least 1")
        if self.freeze_blocks < 0 or self.grad_clip < 0 or not 0 <= self.lr_end <= 1:
            raise ValueError("PrequantConfig: freeze_blocks and grad_clip not below 0, lr_end in [0, 1]")

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch e of E, from 0: lr times lr_end + (1 - lr_end) (1 + cos(pi e / E)) / 2."""
        return self.lr * (self.lr_end + (1 - self.lr_end) * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs)))


def training_slice(shards: Sequence[Path], sequences: int, length: int) -> Tensor:
    """The end of the last training shard, as #1554 takes it: int64 [K * length + 1], K = `sequences` or what is there.

    Raises:
        ValueError: the shard holds less than one sequence and its last target.
    """
    last = open_shards(shards)[-1]
    sequences = min(sequences, (len(last) - 1) // length)
    if sequences < 1:
        raise ValueError(
            f"the last training shard has {len(last)} tokens, less than a sequence of {length} and a target"
        )
    return torch.from_numpy(last[-(sequences * length + 1) :].astype("int64"))


def adapt(model: nn.Module, tokens: Tensor, cfg: PrequantConfig) -> list[float]:
    """Train a model in place on tokens cut into sequences that do not overlap, in order, epoch after epoch.

    It draws nothing: the same weights, tokens and settings give the same weights, bit for bit, on the same machine and
    thread count. What is left over after the last whole sequence is not used.

    Args:
        model: has a `loss(inputs, targets)` method; `blocks` too, if some are to be frozen.
        tokens: int64 [n], at least one sequence and its last target.
        cfg: the settings.

    Returns:
        The mean NLL of each epoch in nats, before each step's update.

    Raises:
        ValueError: too few tokens, a loss that is not finite, or a freeze that would freeze no matrix.
    """
    count = (len(tokens) - 1) // cfg.sequence_length
    if count < 1:
        raise ValueError(f"{len(tokens)} tokens are less than a sequence of {cfg.sequence_length} and its last target")
    inputs = tokens[: count * cfg.sequence_length].view(count, -1)
    targets = tokens[1 : count * cfg.sequence_length + 1].view(count, -1)
    compute_loss = cast(HasLoss, model).loss
    losses = []
    with _frozen(model, cfg.freeze_blocks), _training(model):
        params = [param for param in model.parameters() if param.requires_grad]
        device = params[0].device
        optimizer = torch.optim.AdamW(params, cfg.lr, cfg.betas, cfg.eps, cfg.weight_decay)
        for epoch in range(cfg.epochs):
            for group in optimizer.param_groups:
                group["lr"] = cfg.rate(epoch)
            total = torch.zeros((), dtype=torch.float64, device=device)
            for at in range(0, count, cfg.batch_sequences):
                batch, answers = (part[at : at + cfg.batch_sequences].to(device) for part in (inputs, targets))
                with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
                    loss = compute_loss(batch, answers)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                if cfg.grad_clip > 0:
                    torch.nn.utils.clip_grad_norm_(params, cfg.grad_clip)
                optimizer.step()
                total += loss.detach() * len(batch)
            losses.append(float(total) / count)
            if not math.isfinite(losses[-1]):
                raise ValueError(f"pre-quantization training diverged: the loss is {losses[-1]} in epoch {epoch + 1}")
        for param in params:
            param.grad = None
    return losses


@contextmanager
def _frozen(model: nn.Module, blocks: int) -> Iterator[None]:
    """Take the first blocks' weights out of training, for as long as the context lasts.

    In models whose matrices lie in banks outside the blocks, freezing "two blocks" froze 4,112 gains of 27 million
    parameters (#1306); that is refused.
    """
    if not blocks:
        yield
        return
    first = list(getattr(model, "blocks", []))[:blocks]
    if len(first) < blocks or not all(map(_holds_matrices, first)):
        raise ValueError(f"cannot freeze {blocks} blocks of {type(model).__name__}: its blocks do not hold the weights")
    frozen = [param for block in first for param in block.parameters() if param.requires_grad]
    for param in frozen:
        param.requires_grad_(False)
    try:
        yield
    finally:
        for param in frozen:
            param.requires_grad_(True)


def _holds_matrices(block: nn.Module) -> bool:
    """Whether a block has weights of its own, gains and mixes apart."""
    return any(param.ndim >= 2 and not is_control(name) for name, param in block.named_parameters())


@contextmanager
def _training(model: nn.Module) -> Iterator[None]:
    """Training mode, and then the mode of before."""
    before = model.training
    model.train()
    try:
        yield
    finally:
        model.train(before)
