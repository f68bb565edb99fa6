import itertools
import math

import numpy as np
import pytest
import torch

from harness.kit import trainer
from harness.kit.loader import SequentialLoader
from harness.kit.model import GPT
from harness.kit.optim import Muon
from harness.kit.trainer import train
from tests.kit.tiny_training import SHORT, TINY, after, changed, fresh, weights


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


def test_a_reserve_ends_training_earlier(shards, monkeypatch):
    def run(**values: float) -> trainer.TrainResult:
        monkeypatch.setattr(trainer, "time", Clock())
        return train(fresh(), shards, changed(SHORT, steps=1000, **values), seed=0)

    kept, short = run(seconds=20.0, reserve_seconds=10.0), run(seconds=10.0)
    assert kept == short and kept.stopped_by == "clock" and 10.0 <= kept.seconds < 12.0
    assert run(seconds=20.0).steps > kept.steps


class Told(GPT):
    """Writes down what it is told, and what its weights are then."""

    def __init__(self) -> None:
        super().__init__(TINY)
        self.heard: list[tuple[int, float]] = []

    def progress(self, step: int, fraction: float) -> None:
        assert self.training
        self.heard.append((step, fraction))


def test_a_model_is_told_of_every_step_before_it(shards):
    torch.manual_seed(0)
    model = Told()
    train(model, shards, changed(SHORT, steps=5), seed=0)
    assert model.heard == [(step, pytest.approx(step / 5)) for step in range(5)]
    assert torch.equal(weights(model), after(shards, changed(SHORT, steps=5)))


def test_by_the_clock_it_is_told_the_part_of_the_budget(shards, monkeypatch):
    monkeypatch.setattr(trainer, "time", Clock())
    model = Told()
    cfg = changed(SHORT, steps=1000, seconds=20.0, reserve_seconds=10.0, schedule="clock")
    result = train(model, shards, cfg, seed=0)
    steps, fractions = zip(*model.heard, strict=True)
    assert steps == tuple(range(result.steps)) and fractions[0] == 0.0
    gaps = np.diff(fractions)
    # a look at the clock is 0.25 of 10 seconds
    assert (gaps > 0.024).all() and 0.9 < fractions[-1] <= 1.0


def test_the_loader_of_the_settings_is_used(shards):
    sequential, coprime = (after(shards, changed(SHORT, loader=name)) for name in ("sequential", "coprime"))
    assert torch.equal(coprime, after(shards, changed(SHORT, loader="coprime")))
    assert not torch.equal(coprime, sequential)
    assert not torch.equal(coprime, after(shards, changed(SHORT, loader="coprime"), seed=1))
    with pytest.raises(ValueError, match="loader"):
        changed(SHORT, loader="random")


def test_the_defaults_are_the_plain_loop(shards):
    """The baseline in so many words: no switch may change a bit of what it does."""
    cfg = changed(SHORT, steps=6, warmdown=0.5)
    torch.manual_seed(0)
    model = GPT(TINY)
    data = SequentialLoader(shards, cfg.batch_tokens, cfg.sequence_length)
    named = dict(model.named_parameters())
    matrices = [name for name in named if name.endswith(".weight") and name.startswith("blocks")]
    muon = Muon([named[name] for name in matrices])
    groups = [[named["embedding.weight"]], [param for name, param in named.items() if not name.endswith(".weight")]]
    rates = (cfg.embed_lr, cfg.scalar_lr)
    adam = torch.optim.AdamW([{"params": group} for group in groups], betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    torch.manual_seed(0)
    for step in range(6):
        scale = min(1.0, (6 - step) / 3)
        muon.param_groups[0].update(lr=0.04 * scale, momentum=(1 - step / 500) * 0.85 + step / 500 * 0.95)
        for group, rate in zip(adam.param_groups, rates, strict=True):
            group["lr"] = rate * scale
        model.zero_grad()
        model.loss(*data.next_batch()).backward()
        muon.step()
        adam.step()
    assert torch.equal(after(shards, cfg), weights(model))


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


def test_a_cpu_trains_in_float32_unless_told(shards):
    assert torch.equal(after(shards, SHORT), after(shards, changed(SHORT, precision="float32")))
    assert not torch.equal(after(shards, SHORT), after(shards, changed(SHORT, precision="bfloat16")))


def test_bfloat16_learns_what_float32_learns(shards):
    losses = []
    for precision in ("float32", "bfloat16"):
        model = fresh()
        result = train(model, shards, changed(SHORT, steps=60, precision=precision), seed=0)
        assert all(param.dtype == torch.float32 for param in model.parameters())
        losses.append(result.final_loss)
    assert losses[0] < 0.5 and abs(losses[1] - losses[0]) < 0.1


def test_the_residual_stream_has_the_precision_of_training():
    model, seen = fresh(), []
    hook = model.blocks[1].register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    ids = torch.zeros(1, 4, dtype=torch.int64)
    with torch.autocast("cpu", torch.bfloat16):
        model.train()(ids)
        model.eval()(ids)
    model.train()(ids)
    hook.remove()
    assert seen == [torch.bfloat16, torch.float32, torch.float32]


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="precision must be .* not 'half'"):
        changed(SHORT, precision="half")
