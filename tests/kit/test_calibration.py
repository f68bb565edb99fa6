"""Hessians and where their text comes from."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

import harness.kit.calibration as calibration
from harness.kit import worker
from harness.kit.calibration import calibration_tokens, collect, hessians
from harness.kit.config import Calibration, Override, QuantizeConfig
from harness.kit.model import GPT
from harness.kit.submission import TrainData
from harness.sandbox.protocol import Kind, Mark
from tests.kit.trained import VOCABULARY, markov
from tests.support import TINY

SOME = Calibration(sequences=6, length=20, batch=4)
NO_DATA = TrainData((), VOCABULARY, 0)


def source(name, **changes):
    return Calibration(**{**SOME.__dict__, "source": name, **changes})


def test_the_hessian_is_the_mean_outer_product_of_what_enters():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 3, bias=False), nn.Tanh(), nn.Linear(3, 5))
    tokens = torch.randint(10, (5, 7))
    found = hessians(model, tokens, batch=2)
    with torch.no_grad():
        first = model[0](tokens).double().flatten(0, 1)
        second = torch.tanh(model[1](model[0](tokens))).double().flatten(0, 1)
    assert found.keys() == {"1.weight", "3.weight"}
    for name, inputs in (("1.weight", first), ("3.weight", second)):
        torch.testing.assert_close(found[name], sum(torch.outer(x, x) for x in inputs) / 35, rtol=1e-5, atol=1e-7)


def test_the_tied_embedding_gets_what_leaves_the_final_norm(trained):
    found = hessians(trained.model, trained.inputs, batch=3)
    with torch.no_grad():
        hidden = trained.model.hidden(trained.inputs).double().flatten(0, 1)
    torch.testing.assert_close(found["embedding.weight"], hidden.T @ hidden / len(hidden), rtol=1e-4, atol=1e-6)
    linear = {f"{name}.weight" for name, module in trained.model.named_modules() if isinstance(module, nn.Linear)}
    assert found.keys() == linear | {"embedding.weight"}


def test_training_text_is_the_start_of_the_shards(trained):
    tokens = calibration_tokens(trained.model, trained.data, source("train"))
    assert np.array_equal(tokens.flatten().numpy(), markov(40_000, 1)[:120])


def test_random_tokens_need_no_data():
    first, again = (calibration_tokens(nn.Identity(), NO_DATA, source("random")) for _ in range(2))
    assert first.shape == (6, 20) and torch.equal(first, again) and first.unique().numel() > 40
    assert not torch.equal(first, calibration_tokens(nn.Identity(), NO_DATA, source("random", seed=1)))


def test_cold_text_of_the_models_own_is_what_it_finds_most_likely(trained):
    tokens = calibration_tokens(trained.model, NO_DATA, source("self", temperature=1e-4))
    assert tokens.shape == (6, 20)
    with torch.no_grad():
        likeliest = trained.model(tokens[:, :-1]).argmax(-1)
    assert torch.equal(tokens[:, 1:], likeliest)


def test_warm_text_of_the_models_own_looks_like_what_it_learned(trained):
    follows = {(int(a), int(b)) for a, b in zip(markov(40_000, 1), markov(40_000, 1)[1:], strict=False)}

    def share(tokens):
        pairs = [(int(a), int(b)) for row in tokens for a, b in zip(row, row[1:], strict=False)]
        return sum(pair in follows for pair in pairs) / len(pairs)

    assert share(calibration_tokens(trained.model, NO_DATA, source("self"))) > 0.6
    assert share(calibration_tokens(trained.model, NO_DATA, source("random"))) < 0.2


def test_models_without_a_cache_draw_the_same_text(trained):
    class Other(GPT):
        pass

    other = Other(trained.model.cfg)
    other.load_state_dict(trained.model.state_dict())
    drawn = [calibration_tokens(model, NO_DATA, source("self")) for model in (trained.model, other)]
    assert torch.equal(*drawn)


def test_validation_text_must_be_declared(trained):
    with pytest.raises(PermissionError, match='"reads_validation": true'):
        calibration_tokens(trained.model, trained.data, source("validation"))
    declared = TrainData((), VOCABULARY, 0, trained.data.shards)
    tokens = calibration_tokens(trained.model, declared, source("validation"))
    assert np.array_equal(tokens.flatten().numpy(), markov(40_000, 1)[:120])


@pytest.mark.parametrize("name", ["self", "random", "train"])
def test_the_model_and_the_generators_stay_as_they_are(trained, name):
    before = {key: value.clone() for key, value in trained.model.state_dict().items()}
    trained.model.train()
    state = torch.get_rng_state()
    found = collect(trained.model, trained.data, QuantizeConfig(gptq=True, calibration=source(name)), inside_clock=True)
    assert len(found) == 13 and trained.model.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[key], value) for key, value in trained.model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in trained.model.modules())
    trained.model.eval()


def test_nothing_is_collected_where_nothing_needs_it(trained):
    late = QuantizeConfig(gptq=True, calibration=source("random", inside_clock=False))
    assert collect(trained.model, NO_DATA, QuantizeConfig(), inside_clock=True) == {}
    assert collect(trained.model, NO_DATA, QuantizeConfig(), inside_clock=False) == {}
    assert collect(trained.model, NO_DATA, late, inside_clock=True) == {}
    assert len(collect(trained.model, NO_DATA, late, inside_clock=False)) == 13
    named = QuantizeConfig(calibration=late.calibration, overrides=(Override("*mlp*", gptq=True),))
    assert len(collect(trained.model, NO_DATA, named, inside_clock=False)) == 13


@pytest.mark.parametrize("inside", [True, False])
def test_the_clocks_see_the_pass(tmp_path, trained, monkeypatch, inside):
    body = f"""{TINY}
class Mine(Tiny):
    def train_config(self):
        return TrainConfig(steps=1, batch_tokens=64, sequence_length=64, seconds=0.0, schedule="steps", warmdown=0.5)

    def quantize_config(self):
        from harness.kit.config import Calibration
        how = Calibration("train", inside_clock={inside}, sequences=2, length=64)
        return QuantizeConfig(bits=4, keep_below=1024, min_range=0.0, gptq=True, calibration=how)
"""
    (tmp_path / "submission.py").write_text(body)
    marks, seen = [], []

    class Recorder:
        def send(self, kind, *arrays):
            if kind == Kind.MARK:
                marks.append(Mark(int(arrays[0][0])))

    real = hessians
    monkeypatch.setattr(calibration, "hessians", lambda *given: seen.append(marks[-1]) or real(*given))
    monkeypatch.setattr("sys.path", [*sys.path])
    job = {"threads": 1, "seed": 1, "submission": str(tmp_path), "scale": "smoke", "vocab_size": VOCABULARY}
    try:
        worker._train(Recorder(), job | {"shards": [str(path) for path in trained.data.shards]})
    finally:
        sys.modules.pop("submission", None)
        torch.use_deterministic_algorithms(False)
    assert seen == [Mark.LOOP_START if inside else Mark.ADAPTED] and marks == list(Mark)


@pytest.mark.parametrize("bad", [{"source": "test"}, {"sequences": 0}, {"length": 0}, {"temperature": 0.0}])
def test_impossible_calibrations_are_refused(bad):
    with pytest.raises(ValueError, match="Calibration: "):
        Calibration(**bad)


def test_too_short_a_stream_is_refused(trained):
    declared = TrainData((), VOCABULARY, 0, trained.data.shards)
    with pytest.raises(ValueError, match="40000 validation tokens are no sequence of 50000"):
        calibration_tokens(trained.model, declared, source("validation", length=50_000, sequences=1))
