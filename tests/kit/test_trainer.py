import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from harness.kit import trainer
from harness.kit.config import ModelConfig, TrainConfig
from harness.kit.model import GPT
from harness.kit.optim import Muon
from harness.kit.trainer import lr_scale, muon_momentum, train

TINY = ModelConfig(vocab_size=16, layers=2, dim=16, heads=2, kv_heads=1)
SHORT = TrainConfig(steps=4, batch_tokens=64, sequence_length=16, seconds=0.0, schedule="steps", warmdown=0.0)


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> list[Path]:
    """A stream in which every token follows from the one before it, so that there is something to learn."""
    tokens = np.cumsum(np.full(3000, 5)) % 16
    header = np.zeros(256, "<i4")
    header[:3] = 20240520, 1, len(tokens)
    path = tmp_path_factory.mktemp("train") / "fineweb_train_000000.bin"
    path.write_bytes(header.tobytes() + tokens.astype("<u2").tobytes())
    return [path]


def fresh(seed: int = 0) -> GPT:
    torch.manual_seed(seed)
    return GPT(TINY)


def changed(cfg: TrainConfig, **values: object) -> TrainConfig:
    return TrainConfig(**{**cfg.__dict__, **values})


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([param.detach().flatten() for param in model.parameters()])


def after(shards: list[Path], cfg: TrainConfig, seed: int = 0) -> torch.Tensor:
    model = fresh()
    train(model, shards, cfg, seed=seed)
    return weights(model)


def test_training_learns(shards):
    model, notes = fresh(), []
    result = train(model, shards, changed(SHORT, steps=60, log_every=0.0), seed=0, notify=notes.append)
    assert (result.steps, result.tokens, result.stopped_by) == (60, 60 * 64, "steps")
    assert notes[0]["loss"] == pytest.approx(math.log(16), abs=0.1)
    assert result.final_loss == notes[-1]["loss"] < 0.5


def test_the_same_seed_gives_the_same_weights_bit_for_bit(shards):
    cfg = changed(SHORT, steps=8, ema=0.9, grad_clip=1.0, warmdown=0.5, warmup_steps=2)
    assert torch.equal(after(shards, cfg), after(shards, cfg))
    assert not torch.equal(after(shards, cfg), after(shards, changed(cfg, steps=7)))


def test_the_seed_reaches_a_model_that_draws(shards):
    class Noisy(GPT):
        def loss(self, inputs, targets):
            return super().loss(inputs, targets) * (1 + torch.rand(()))

    def run(seed: int) -> torch.Tensor:
        torch.manual_seed(0)
        model = Noisy(TINY)
        train(model, shards, SHORT, seed=seed)
        return weights(model)

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_the_average_follows_its_formula(shards):
    states = [weights(fresh()), *(after(shards, changed(SHORT, steps=steps)) for steps in (1, 2, 3))]
    mean = states[0]
    for state in states[1:]:
        mean = 0.75 * mean + 0.25 * state
    averaged = after(shards, changed(SHORT, steps=3, ema=0.75))
    assert torch.allclose(averaged, mean, atol=1e-6)
    assert not torch.allclose(averaged, states[-1], atol=1e-3)


def test_clipping_bounds_the_gradient(shards, monkeypatch):
    norms = []
    original = Muon.step

    def spy(self, closure=None):
        norms.append(torch.stack([p.grad.norm() for group in self.param_groups for p in group["params"]]).norm().item())
        return original(self, closure)

    monkeypatch.setattr(Muon, "step", spy)
    after(shards, changed(SHORT, grad_clip=1e-3))
    clipped = list(norms)
    norms.clear()
    after(shards, SHORT)
    assert max(clipped) <= 1.001e-3 < max(norms)


def test_warm_down_by_steps():
    cfg = TrainConfig(steps=100, seconds=0.0, schedule="steps", warmdown=20.0)
    scales = [lr_scale(cfg, step, 1e9) for step in range(100)]
    assert scales[:81] == [1.0] * 81
    assert scales[81:] == pytest.approx([(100 - step) / 20 for step in range(81, 100)])
    fraction = changed(cfg, warmdown=0.2)
    assert [lr_scale(fraction, step, 0.0) for step in range(100)] == scales
    floored = changed(cfg, min_lr=0.1)
    assert [lr_scale(floored, step, 0.0) for step in range(100)] == pytest.approx([0.1 + 0.9 * s for s in scales])


def test_warm_down_by_the_clock():
    # 100 s in all; 50 steps so far took 0.5 s each, so that 40 steps of warm-down are the last 20 s
    cfg = TrainConfig(steps=10**6, seconds=100.0, schedule="clock", warmdown=40.0)
    assert lr_scale(cfg, 50, 25.0) == 1.0
    assert lr_scale(cfg, 160, 80.0) == 1.0
    assert lr_scale(cfg, 180, 90.0) == pytest.approx(0.5)
    assert lr_scale(cfg, 220, 110.0) == 0.0
    assert lr_scale(cfg, 0, 0.0) == 1.0
    fraction = changed(cfg, warmdown=0.25)
    assert [lr_scale(fraction, 7, at) for at in (0.0, 75.0, 90.0, 100.0)] == pytest.approx([1.0, 1.0, 0.4, 0.0])


def test_warm_up_is_linear():
    cfg = changed(SHORT, steps=50, warmup_steps=10)
    assert [lr_scale(cfg, step, 0.0) for step in (0, 4, 9, 30)] == pytest.approx([0.1, 0.5, 1.0, 1.0])


def test_momentum_warms_up():
    cfg = changed(SHORT, muon_momentum=0.95, muon_momentum_start=0.85, muon_momentum_steps=500)
    assert [muon_momentum(cfg, step) for step in (0, 250, 500, 9999)] == pytest.approx([0.85, 0.90, 0.95, 0.95])
    assert muon_momentum(changed(cfg, muon_momentum_steps=0), 0) == 0.95


def test_the_schedule_reaches_every_optimizer(shards, monkeypatch):
    seen = []

    def spied(model, cfg):
        optimizers = build(model, cfg)
        for optimizer in optimizers:
            step = optimizer.step
            optimizer.step = lambda own=optimizer, step=step: (
                seen.append([(group["lr"] / group["base_lr"], group.get("momentum")) for group in own.param_groups]),
                step(),
            )
        return optimizers

    build = trainer.build_optimizers
    monkeypatch.setattr(trainer, "build_optimizers", spied)
    cfg = changed(SHORT, steps=4, warmdown=1.0, muon_momentum_steps=2)
    after(shards, cfg)
    muon, adam = seen[0::2], seen[1::2]
    assert [groups[0][0] for groups in muon] == pytest.approx([1.0, 0.75, 0.5, 0.25])
    assert [groups[0][1] for groups in muon] == pytest.approx([0.85, 0.90, 0.95, 0.95])
    assert all(
        [ratio for ratio, _ in groups] == pytest.approx([at] * 2)
        for groups, at in zip(adam, (1, 0.75, 0.5, 0.25), strict=True)
    )


class Clock:
    """Time that passes by a quarter of a second whenever somebody looks."""

    def __init__(self) -> None:
        self._now = itertools.count(100.0, 0.25)

    def perf_counter(self) -> float:
        return next(self._now)


def test_the_clock_ends_training(shards, monkeypatch):
    monkeypatch.setattr(trainer, "time", Clock())
    notes = []
    cfg = changed(SHORT, steps=1000, seconds=10.0)
    result = train(fresh(), shards, cfg, seed=0, notify=notes.append)
    assert result.stopped_by == "clock" and 1 < result.steps < 1000
    assert result.seconds >= 10.0 and result.tokens == result.steps * 64
    assert notes[-1]["step"] == result.steps and notes[-1]["loss"] == result.final_loss


def test_no_cap_means_no_cap(shards, monkeypatch):
    monkeypatch.setattr(trainer, "time", Clock())
    assert train(fresh(), shards, changed(SHORT, steps=100), seed=0).stopped_by == "steps"


def test_notifications_come_at_their_interval_and_at_the_end(shards, monkeypatch):
    monkeypatch.setattr(trainer, "time", Clock())
    notes = []
    result = train(fresh(), shards, changed(SHORT, steps=41, log_every=5.0), seed=0, notify=notes.append)
    assert notes[-1] == {
        "step": 41,
        "steps": 41,
        "loss": result.final_loss,
        "seconds": result.seconds,
        "tokens": 41 * 64,
    }
    gaps = np.diff([note["seconds"] for note in notes[:-1]])
    assert len(notes) > 2 and gaps.min() >= 5.0 and gaps.max() <= 6.0


def test_a_run_that_diverges_is_an_error(shards):
    class Broken(GPT):
        def loss(self, inputs, targets):
            return super().loss(inputs, targets) * math.nan

    with pytest.raises(ValueError, match="diverged.*step"):
        train(Broken(TINY), shards, SHORT, seed=0)


def test_a_bad_shard_is_an_error_before_the_first_step(tmp_path):
    bad = tmp_path / "fineweb_train_000000.bin"
    bad.write_bytes(b"no shard")
    with pytest.raises(ValueError, match="fineweb_train_000000"):
        train(fresh(), [bad], SHORT, seed=0)
