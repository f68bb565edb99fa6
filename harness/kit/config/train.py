"""How the shared trainer trains. The defaults are the contest's baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainConfig:
    """How the shared trainer trains.

    Attributes:
        steps: most optimizer steps.
        batch_tokens: tokens a step, a multiple of `sequence_length`.
        sequence_length: tokens a sequence.
        seconds: wall-clock cap in seconds; training ends after the step that reaches it. 0 means no cap.
        warmup_steps: linear warm-up of every learning rate, in steps.
        warmdown: linear warm-down at the end of the run: up to 1 a fraction of the run, above 1 a number of steps.
        schedule: what the warm-down follows, "steps" (reproducible) or "clock" (as in the contest; needs a cap).
        min_lr: where the warm-down ends, as a fraction of the learning rate.
        muon_lr: learning rate of the blocks' matrices.
        muon_momentum: Nesterov momentum of Muon, reached linearly ...
        muon_momentum_start: ... from this value ...
        muon_momentum_steps: ... in this many steps.
        ns_steps: Newton-Schulz iterations.
        embed_lr: AdamW learning rate of embeddings.
        head_lr: AdamW learning rate of an untied head.
        scalar_lr: AdamW learning rate of everything else.
        beta1: AdamW's first beta.
        beta2: AdamW's second beta.
        eps: AdamW's epsilon.
        muon_decay: decoupled weight decay of the matrices.
        embed_decay: decoupled weight decay of embeddings and head.
        scalar_decay: decoupled weight decay of everything else.
        grad_clip: largest global gradient norm; 0 turns clipping off.
        ema: decay of the weights' moving average, which replaces the weights at the end; 0 turns it off.
        log_every: seconds between notifications.
    """

    steps: int = 20_000
    batch_tokens: int = 524_288
    sequence_length: int = 1024
    seconds: float = 600.0
    warmup_steps: int = 0
    warmdown: float = 1200.0
    schedule: Literal["steps", "clock"] = "clock"
    min_lr: float = 0.0
    muon_lr: float = 0.04
    muon_momentum: float = 0.95
    muon_momentum_start: float = 0.85
    muon_momentum_steps: int = 500
    ns_steps: int = 5
    embed_lr: float = 0.05
    head_lr: float = 0.008
    scalar_lr: float = 0.04
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    muon_decay: float = 0.0
    embed_decay: float = 0.0
    scalar_decay: float = 0.0
    grad_clip: float = 0.0
    ema: float = 0.0
    log_every: float = 1.0

    def __post_init__(self) -> None:
        """Reject runs that cannot be run (ValueError)."""
        if self.steps < 1 or self.sequence_length < 1 or self.batch_tokens < 1:
            raise ValueError("TrainConfig: steps, batch_tokens and sequence_length must be at least 1")
        if self.batch_tokens % self.sequence_length:
            raise ValueError(
                f"TrainConfig: batch_tokens {self.batch_tokens} must be a multiple of sequence_length "
                f"{self.sequence_length}"
            )
        if self.schedule not in ("steps", "clock"):
            raise ValueError(f'TrainConfig: schedule must be "steps" or "clock", not {self.schedule!r}')
        if self.schedule == "clock" and self.seconds <= 0:
            raise ValueError('TrainConfig: schedule "clock" needs seconds above 0')
        if self.seconds < 0 or self.warmdown < 0 or self.warmup_steps < 0:
            raise ValueError("TrainConfig: seconds, warmdown and warmup_steps must not be negative")
        if not 0 <= self.ema < 1:
            raise ValueError(f"TrainConfig: ema must be in [0, 1), not {self.ema}")
