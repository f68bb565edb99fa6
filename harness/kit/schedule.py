"""What a training run follows as it goes on: its fraction, the learning rates' factor, Muon's momentum."""

from __future__ import annotations

from harness.kit.config import TrainConfig


def run_fraction(cfg: TrainConfig, step: int, elapsed: float) -> float:
    """How much of a run is over, from 0 to 1, by its schedule: of its steps, or of its budget of seconds (#1394).

    Args:
        cfg: the schedule.
        step: steps done so far.
        elapsed: seconds of training so far; used by the schedule "clock" only.
    """
    return min(step / cfg.steps if cfg.schedule == "steps" else elapsed / cfg.budget, 1.0)


def lr_scale(cfg: TrainConfig, step: int, elapsed: float) -> float:
    """Factor of every learning rate: linear warm-up, then 1, then a linear warm-down to 0 that stops at `cfg.min_lr`.

    Args:
        cfg: the schedule.
        step: steps done so far.
        elapsed: seconds of training so far; used by the schedule "clock" only.

    Returns:
        a number in [min_lr, 1] after the warm-up. By steps, the first step of a warm-down of W steps has factor
        W/W = 1 and the last 1/W (for min_lr 0). By the clock, W steps are W times the mean step so far, as in the
        contest's baseline, and the end is that of the budget: the cap less the reserve. The floor is that of #1218 and
        what came after it.
    """
    warmup = min(1.0, (step + 1) / cfg.warmup_steps) if cfg.warmup_steps else 1.0
    if cfg.warmdown == 0:
        return warmup
    if cfg.schedule == "steps":
        length = cfg.warmdown * cfg.steps if cfg.warmdown <= 1 else cfg.warmdown
        left = float(cfg.steps - step)
    else:
        length = cfg.warmdown * (cfg.budget if cfg.warmdown <= 1 else elapsed / max(step, 1))
        left = max(cfg.budget - elapsed, 0.0)
    down = left / length if left < length else 1.0
    return warmup * max(down, cfg.min_lr)


def muon_momentum(cfg: TrainConfig, step: int) -> float:
    """Muon's momentum after `step` steps: linear from `muon_momentum_start` to `muon_momentum`."""
    part = min(step / cfg.muon_momentum_steps, 1.0) if cfg.muon_momentum_steps else 1.0
    return (1 - part) * cfg.muon_momentum_start + part * cfg.muon_momentum
