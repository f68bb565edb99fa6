"""How the shared trainer trains. The defaults are the contest's baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainConfig:
    """How the shared trainer trains. Every switch is off, or the baseline's, by default.

    Attributes:
        steps: most optimizer steps.
        batch_tokens: tokens a step, a multiple of `sequence_length`.
        sequence_length: tokens a sequence.
        seconds: wall-clock cap in seconds; training ends after the step that reaches it. 0 means no cap.
        reserve_seconds: seconds of that cap kept for what comes after the loop and still touches training data, as the
            Hessians of GPTQ (#1060 and later): the loop ends that much earlier, and the clock's schedule knows.
        loader: "sequential" (the shards as one stream) or "coprime" (blocks of many shards, #1184 and #1333).
        warmup_steps: linear warm-up of every learning rate, in steps.
        warmdown: linear warm-down at the end of the run: up to 1 a fraction of the run, above 1 a number of steps.
        schedule: what the warm-down follows, "steps" (reproducible) or "clock" (as in the contest; needs a cap).
        min_lr: where the warm-down, a line to 0, stops, as a fraction of the learning rate.
        muon_lr: learning rate of the blocks' matrices.
        muon_momentum: Nesterov momentum of Muon, reached linearly ...
        muon_momentum_start: ... from this value ...
        muon_momentum_steps: ... in this many steps.
        muon_row_normalize: divide each row of the update by its norm before it is orthogonalized (MuonEq-R, #1217).
        orthogonalizer: "newton-schulz", or "polar-express" (#1344) with coefficients of their own in each iteration.
        ns_steps: iterations of either; Polar Express has coefficients for at most 5.
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
        swa_every: steps between the checkpoints whose mean replaces the weights at the end; 0 turns it off.
        swa_below: checkpoints are taken after steps whose learning rates were scaled by less than this.
        precision: "float32", or "bfloat16" as in the contest: by autocast, and in Muon's iterations; "auto" is
            "bfloat16" on a GPU and "float32" on a CPU. A CPU with units for it (avx512_bf16, amx_bf16) trains a model
            of the contest's size about three times as fast in bfloat16, one without them more slowly.
        log_every: seconds between notifications.
    """

    steps: int = 20_000
    batch_tokens: int = 524_288
    sequence_length: int = 1024
    seconds: float = 600.0
    reserve_seconds: float = 0.0
    loader: Literal["sequential", "coprime"] = "sequential"
    warmup_steps: int = 0
    warmdown: float = 1200.0
    schedule: Literal["steps", "clock"] = "clock"
    min_lr: float = 0.0
    muon_lr: float = 0.04
    muon_momentum: float = 0.95
    muon_momentum_start: float = 0.85
    muon_momentum_steps: int = 500
    muon_row_normalize: bool = False
    orthogonalizer: Literal["newton-schulz", "polar-express"] = "newton-schulz"
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
    swa_every: int = 0
    swa_below: float = 0.2
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    log_every: float = 1.0

    @property
    def budget(self) -> float:
        """Seconds that the loop may take: the cap less the reserve; 0 means no cap."""
        return self.seconds - self.reserve_seconds

    def low_precision(self, device: str) -> bool:
        """Whether training on a device ("cpu", "cuda") computes in bfloat16."""
        return self.precision == "bfloat16" or (self.precision == "auto" and device == "cuda")

    def __post_init__(self) -> None:
        """Reject runs that cannot be run (ValueError)."""
        if self.steps < 1 or self.sequence_length < 1 or self.batch_tokens < 1:
            raise ValueError("TrainConfig: steps, batch_tokens and sequence_length must be at least 1")
        if self.batch_tokens % self.sequence_length:
            raise ValueError(
                f"TrainConfig: batch_tokens {self.batch_tokens} must be a multiple of sequence_length "
                f"{self.sequence_length}"
            )
        self._check_schedule()
        self._check_methods()

    def _check_schedule(self) -> None:
        if self.schedule not in ("steps", "clock"):
            raise ValueError(f'TrainConfig: schedule must be "steps" or "clock", not {self.schedule!r}')
        if self.schedule == "clock" and self.seconds <= 0:
            raise ValueError('TrainConfig: schedule "clock" needs seconds above 0')
        if self.seconds < 0 or self.warmdown < 0 or self.warmup_steps < 0:
            raise ValueError("TrainConfig: seconds, warmdown and warmup_steps must not be negative")
        if self.reserve_seconds < 0 or self.reserve_seconds >= self.seconds > 0:
            raise ValueError(
                f"TrainConfig: reserve_seconds must be between 0 and seconds ({self.seconds:g}), "
                f"not {self.reserve_seconds:g}"
            )
        if self.reserve_seconds and not self.seconds:
            raise ValueError("TrainConfig: reserve_seconds is kept of a cap; set seconds above 0")

    def _check_methods(self) -> None:
        if self.loader not in ("sequential", "coprime"):
            raise ValueError(f'TrainConfig: loader must be "sequential" or "coprime", not {self.loader!r}')
        if self.orthogonalizer not in ("newton-schulz", "polar-express"):
            raise ValueError(
                f'TrainConfig: orthogonalizer must be "newton-schulz" or "polar-express", not {self.orthogonalizer!r}'
            )
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError(f'TrainConfig: precision must be "auto", "float32" or "bfloat16", not {self.precision!r}')
        if self.ns_steps < 0 or (self.orthogonalizer == "polar-express" and self.ns_steps > 5):
            raise ValueError(
                f"TrainConfig: ns_steps must be at least 0, at most 5 of Polar Express, not {self.ns_steps}"
            )
        if not 0 <= self.ema < 1:
            raise ValueError(f"TrainConfig: ema must be in [0, 1), not {self.ema}")
        if self.swa_every < 0:
            raise ValueError("TrainConfig: swa_every must not be negative")
        if self.swa_every and self.ema:
            raise ValueError("TrainConfig: ema and swa_every both replace the weights at the end; choose one")
        if self.swa_every and not (self.warmdown and self.min_lr < self.swa_below):
            raise ValueError(
                f"TrainConfig: swa_every needs a warm-down to less than swa_below ({self.swa_below:g}); "
                f"here it is {self.warmdown:g} long and ends at {self.min_lr:g}"
            )
