import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from harness.kit.averages import CheckpointMean
from harness.kit.config import TrainConfig
from harness.kit.model import GPT
from harness.kit.trainer import TrainResult, train
from tests.kit.tiny_training import SHORT, TINY, after, changed, fresh, weights


class Kept(GPT):
    """Keeps its weights from before every step."""

    def __init__(self) -> None:
        super().__init__(TINY)
        self.states: list[torch.Tensor] = []

    def progress(self, step: int, fraction: float) -> None:
        self.states.append(weights(self).double())


def kept(shards, cfg: TrainConfig) -> tuple[list[torch.Tensor], torch.Tensor, TrainResult]:
    """The weights after 0, 1, ... steps but the last, those that training ends with, and its result."""
    torch.manual_seed(0)
    model = Kept()
    result = train(model, shards, cfg, seed=0)
    return model.states, weights(model).double(), result


def test_the_average_follows_its_formula(shards):
    states = [weights(fresh()), *(after(shards, changed(SHORT, steps=steps)) for steps in (1, 2, 3))]
    mean = states[0]
    for state in states[1:]:
        mean = 0.75 * mean + 0.25 * state
    averaged = after(shards, changed(SHORT, steps=3, ema=0.75))
    assert torch.allclose(averaged, mean, atol=1e-6)
    assert not torch.allclose(averaged, states[-1], atol=1e-3)


def test_the_checkpoints_mean_is_what_training_ends_with(shards):
    # steps 1 to 16, the last 8 warm down: their factors are 1, 7/8, ..., 1/8, so that steps 13 to 16 are below 0.6
    cfg = changed(SHORT, steps=16, warmdown=0.5, swa_every=2, swa_below=0.6)
    plain = changed(cfg, swa_every=0)
    states, last, _ = kept(shards, plain)
    states.append(last)
    found, averaged = kept(shards, cfg)[1:]
    expected = torch.stack([states[14], states[16]]).mean(0)
    assert averaged.averaged == 2 and torch.allclose(found, expected, atol=1e-7)
    # it is not the last step's weights, nor another selection's mean
    for other in (last, states[14], torch.stack(states[12::2]).mean(0), torch.stack(states[13:]).mean(0)):
        assert not torch.allclose(found, other, atol=1e-5)


def test_checkpoints_do_not_disturb_training(shards):
    cfg = changed(SHORT, steps=12, warmdown=0.5, swa_every=1, swa_below=0.6)
    with_swa, without = kept(shards, cfg)[0], kept(shards, changed(cfg, swa_every=0))[0]
    assert all(torch.equal(a, b) for a, b in zip(with_swa, without, strict=True))


def test_without_a_checkpoint_the_weights_stay_and_the_log_says_so(shards, capsys):
    cfg = changed(SHORT, steps=4, warmdown=0.5, swa_every=100)
    assert torch.equal(after(shards, cfg), after(shards, changed(cfg, swa_every=0)))
    assert "no checkpoint" in capsys.readouterr().out
    assert train(fresh(), shards, cfg, seed=0).averaged == 0


@given(st.integers(1, 7), st.floats(0.05, 1.0), st.integers(0, 5), st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_which_steps_are_checkpoints(every, below, warmup, scales):
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    mean = CheckpointMean(model, every, below, warmup)
    for step, scale in enumerate(scales, 1):
        with torch.no_grad():
            model.weight.fill_(float(step))
        mean.after_step(step, scale)
    due = [s for s, scale in enumerate(scales, 1) if s % every == 0 and s > warmup and scale < below]
    assert mean.apply() == len(due)
    assert float(model.weight.detach()) == pytest.approx(sum(due) / len(due) if due else len(scales), rel=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ema": 0.9, "swa_every": 5}, "choose one"),
        ({"swa_every": 5, "warmdown": 0.0}, "warm-down"),
        ({"swa_every": 5, "min_lr": 0.3}, "warm-down"),
        ({"swa_every": -1}, "swa_every"),
    ],
)
def test_averages_without_meaning_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**values)
