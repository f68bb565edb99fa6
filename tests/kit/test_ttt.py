"""Score-first TTT: what is scored when, and SGD with momentum and a cosine against its formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from harness.kit.config import ModelConfig
from harness.kit.model import GPT
from harness.kit.ttt import ChunkTrainer, TTTConfig, chunks
from harness.kit.windows import sliding


@st.composite
def geometries(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """(targets, length, stride, chunk), with strides that do not divide anything among them."""
    length = draw(st.integers(1, 12))
    return draw(st.integers(1, 150)), length, draw(st.integers(1, length)), length * draw(st.integers(1, 5))


@given(geometries())
def test_every_position_is_scored_once_and_a_chunk_before_it_is_trained_on(geometry: tuple[int, int, int, int]) -> None:
    targets, length, stride, size = geometry
    dealt = list(chunks(targets, length, stride, size))
    assert [window for chunk in dealt for window in chunk.windows] == list(sliding(targets, length, stride))
    scored: list[int] = []
    for chunk in dealt:
        for window in chunk.windows:
            assert chunk.start <= window.start + window.first < chunk.stop
            scored += range(window.start + window.first + 1, window.start + window.size + 1)
        # x_start .. x_stop is what training gets: its inputs and its targets, of which x_0 is never scored
        assert set(range(max(1, chunk.start), chunk.stop + 1)) <= set(scored)
    assert scored == list(range(1, targets + 1))


@given(geometries())
def test_chunks_tile_the_stream(geometry: tuple[int, int, int, int]) -> None:
    targets, length, stride, size = geometry
    dealt = list(chunks(targets, length, stride, size))
    assert [chunk.start for chunk in dealt] == list(range(0, targets, size))
    assert [chunk.stop for chunk in dealt] == [*range(size, targets, size), targets]
    assert [chunk.index for chunk in dealt] == list(range(len(dealt))) and {chunk.of for chunk in dealt} == {len(dealt)}
    assert [chunk.last for chunk in dealt] == [False] * (len(dealt) - 1) + [True]


def test_where_the_stride_divides_the_chunk_nothing_beyond_it_is_scored() -> None:
    for chunk in chunks(1000, 32, 8, 128):
        assert chunk.windows[-1].start + chunk.windows[-1].size == chunk.stop


@pytest.mark.parametrize("size", [0, 12, 100])
def test_a_chunk_that_sequences_do_not_fill_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="multiple of the window's 64"):
        list(chunks(1000, 64, 16, size))


@pytest.mark.parametrize("wrong", [{"chunk": 0}, {"epochs": -1}, {"momentum": 1.0}, {"clip": 0.0}, {"lr": -1.0}])
def test_settings_without_meaning_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="TTTConfig"):
        TTTConfig(**wrong)  # type: ignore[arg-type]


VOCAB = 6


class Bigram(nn.Module):
    """Logits of the next token are a row of a table: its gradient can be written down."""

    def __init__(self) -> None:
        super().__init__()
        start = torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.table = nn.Parameter(start)

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.table[inputs.flatten()], targets.flatten())


def restated(table: np.ndarray, pieces: list[np.ndarray], length: int, config: TTTConfig) -> np.ndarray:
    """SGD with momentum, clipping and a cosine over chunks, in numpy."""
    table, speed = table.copy(), np.zeros_like(table)
    for k, tokens in enumerate(pieces):
        rate = config.lr * (1 + math.cos(math.pi * k / (len(pieces) - 1))) / 2
        count = (len(tokens) - 1) // length
        for _ in range(config.epochs):
            for first in range(0, count, config.sequences):
                span = range(first * length, min(first + config.sequences, count) * length)
                gradient = np.zeros_like(table)
                for i in span:
                    p = np.exp(table[tokens[i]] - table[tokens[i]].max())
                    gradient[tokens[i]] += p / p.sum() / len(span)
                    gradient[tokens[i], tokens[i + 1]] -= 1 / len(span)
                norm = math.sqrt((gradient**2).sum())
                gradient *= min(1.0, config.clip / (norm + 1e-6))
                speed = config.momentum * speed + gradient
                table = table - rate * speed
    return table


@pytest.mark.parametrize("clip", [100.0, 0.05])
def test_training_is_sgd_with_momentum_clipping_and_a_cosine_over_chunks(clip: float) -> None:
    config = TTTConfig(chunk=40, epochs=2, lr=0.7, momentum=0.8, clip=clip, sequences=3)
    model, length = Bigram(), 8
    before = model.table.detach().numpy().copy()
    stream = torch.randint(VOCAB, (120,), generator=torch.Generator().manual_seed(1))
    parts = list(chunks(119, length, 4, config.chunk))
    trainer = ChunkTrainer(model, config, length)  # type: ignore[arg-type]
    for chunk in parts:
        trainer.learn(stream[chunk.start : chunk.stop + 1], chunk.index, chunk.of)
    expected = restated(before, [stream[c.start : c.stop + 1].numpy() for c in parts], length, config)
    assert np.abs(expected - before).max() > 0.01
    np.testing.assert_allclose(model.table.detach().numpy(), expected, rtol=0, atol=1e-12)


def test_the_rate_falls_from_lr_to_zero() -> None:
    config = TTTConfig(lr=0.005)
    assert config.rate(0, 1893) == 0.005 and config.rate(1892, 1893) == pytest.approx(0, abs=1e-18)
    assert config.rate(946, 1893) == pytest.approx(0.0025) and config.rate(0, 1) == 0.005


@pytest.fixture
def model() -> GPT:
    torch.manual_seed(0)
    gpt = GPT(ModelConfig(vocab_size=17, layers=4, dim=16, heads=2, kv_heads=1))
    for parameter in gpt.parameters():  # the residual projections start at zero: without this they get no gradient
        nn.init.normal_(parameter, std=0.3)
    return gpt.eval()


def learned(model: GPT, config: TTTConfig, tokens: Tensor) -> set[str]:
    """Names of parameters that training on some tokens changed."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ChunkTrainer(model, config, length=8).learn(tokens, 0, 2)
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("freeze", [0, 2])
def test_frozen_blocks_stay_to_the_bit_and_all_else_learns(model: GPT, freeze: int) -> None:
    tokens = torch.randint(17, (65,), generator=torch.Generator().manual_seed(2))
    changed = learned(model, TTTConfig(chunk=64, lr=0.5, freeze=freeze), tokens)
    frozen = {name for name in model.state_dict() if name.startswith("blocks.") and int(name.split(".")[1]) < freeze}
    assert changed == set(model.state_dict()) - frozen and len(frozen) == freeze * 10
    assert not model.training


def test_what_fills_no_sequence_is_left_out(model: GPT) -> None:
    tokens = torch.randint(17, (30,), generator=torch.Generator().manual_seed(3))
    other = tokens.clone()
    other[25:] = (other[25:] + 1) % 17  # three sequences of 8 need tokens 0 .. 24
    twin = GPT(model.cfg)
    twin.load_state_dict(model.state_dict())
    for gpt, text in ((model, tokens), (twin, other)):
        ChunkTrainer(gpt, TTTConfig(lr=0.5), length=8).learn(text, 0, 2)
    assert all(torch.equal(value, twin.state_dict()[name]) for name, value in model.state_dict().items())
    assert not learned(model, TTTConfig(lr=0.5), tokens[:8])
