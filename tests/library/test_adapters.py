"""What people have: models of transformers, nanochat-like losses, lm-evaluation-harness, state-space modules."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness import assert_causal, audit_model, audit_scorer
from harness.errors import UsageError
from harness.library import adapters
from harness.library.report import Leak
from harness.record import Status
from tests.library.gallery import GALLERY, VOCAB

TWIN, LEAK = (make(0) for make in (GALLERY["smear with t+1"].twin, GALLERY["block means into q, k and v"].leak))
LENGTH = 96


class Decoder(nn.Module):
    """As a causal language model of transformers: `.config`, `.logits`, `.past_key_values`; one layer with a cache.

    With `late` its cache keeps the keys of the last text.
    """

    def __init__(self, late: bool = False, ahead: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.qkv, self.head = nn.Embedding(VOCAB, 16), nn.Linear(16, 48), nn.Linear(16, VOCAB)
        self.config = SimpleNamespace(vocab_size=VOCAB, max_position_embeddings=64)
        self.late, self.ahead = late, ahead
        self.kept: Any = None

    def forward(self, input_ids: Tensor, past_key_values: Any = None, use_cache: bool = False) -> Any:
        q, k, v = self.qkv(self.embed(input_ids)).chunk(3, -1)
        past = past_key_values if past_key_values is not None else self.kept if use_cache and self.late else None
        if past is not None:
            k, v = torch.cat((past[0][..., -200:, :], k), 1), torch.cat((past[1][..., -200:, :], v), 1)
        if use_cache:
            self.kept = (k.detach(), v.detach())
        t, s = q.shape[1], k.shape[1]
        mask = torch.ones(t, s, dtype=torch.bool).tril(s - t + int(self.ahead))
        h = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return SimpleNamespace(logits=self.head(h + q), past_key_values=(k, v))


def test_a_causal_language_model_of_transformers_as_it_is() -> None:
    assert assert_causal(Decoder()).record.data.tokens == 64
    with pytest.raises(Leak, match="Decoder uses tokens"):
        assert_causal(Decoder(ahead=True))


class Renamed(Decoder):
    """As one of transformers since 5.24, which calls it `cache`."""

    def forward(self, input_ids: Tensor, cache: Any = None, use_cache: bool = False) -> Any:  # type: ignore[override]
        out = super().forward(input_ids, cache, use_cache)
        return SimpleNamespace(logits=out.logits, cache=out.past_key_values)


def test_decoding_with_a_cache_and_one_that_is_not_emptied() -> None:
    assert audit_scorer(adapters.cached(Decoder()), length=48).ok
    assert audit_scorer(adapters.cached(Renamed()), length=48).ok
    for late in (Decoder(late=True), Renamed(late=True)):
        with pytest.raises(Leak):
            audit_scorer(adapters.cached(late), length=48).raise_for_status()


@pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None,
    reason="transformers is not installed (pip install 'golf-harness[transformers]'); a stand-in is tested above",
)
def test_a_tiny_model_of_transformers_built_here() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=VOCAB, n_positions=64, n_embd=32, n_layer=2, n_head=2)
    model = GPT2LMHeadModel(config).eval()
    assert assert_causal(model).record.data.tokens == 64
    assert audit_scorer(adapters.cached(model), length=32).ok


def test_sliding_windows_over_a_model() -> None:
    report = audit_scorer(adapters.sliding(TWIN, VOCAB, window=32, stride=8), length=LENGTH)
    assert report.ok and report.finding("single-pass").status == Status.PASS
    with pytest.raises(Leak):
        audit_scorer(adapters.sliding(LEAK, VOCAB, window=32, stride=8), length=LENGTH).raise_for_status()
    with pytest.raises(UsageError, match="stride"):
        adapters.sliding(TWIN, VOCAB, window=8, stride=9)
    with pytest.raises(UsageError, match="window"):
        adapters.sliding(TWIN, VOCAB)


@pytest.mark.parametrize("shape", ["flat", "rows", "with logits"])
def test_losses_without_reduction(shape: str) -> None:
    def of(model: Any) -> Any:
        def forward(idx: Tensor, targets: Tensor, loss_reduction: str = "mean") -> Any:
            logits = model(idx)
            loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction=loss_reduction)
            return {"flat": loss, "rows": loss.view_as(targets), "with logits": (logits, loss)}[shape]

        return forward

    assert audit_scorer(adapters.losses(of(TWIN), VOCAB, window=48), length=LENGTH).ok
    with pytest.raises(Leak):
        audit_scorer(adapters.losses(of(LEAK), VOCAB, window=48), length=LENGTH).raise_for_status()
    with pytest.raises(UsageError, match="losses for"):
        audit_scorer(adapters.losses(lambda *_, **__: torch.zeros(()), VOCAB, window=48), length=LENGTH)


class Rolling:
    """As a model of lm-evaluation-harness: totals of texts, one after another; texts here are numbers."""

    def __init__(self, model: Any, beside: float = 0.0, whole: bool = False) -> None:
        self.model, self.beside, self.whole = model, beside, whole

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[tuple[float]]:
        texts = [[int(word) for word in request.args[0].split()] for request in requests]
        totals = []
        for index, ids in enumerate(texts):
            with torch.no_grad():
                given = torch.tensor([0, *ids])
                chances = self.model(given[None, :-1])[0].log_softmax(-1)
            total = float(chances.gather(1, given[1:, None]).sum())
            after = texts[index + 1] if index + 1 < len(texts) else []
            totals.append((total / (40 if self.whole else 1) + self.beside * sum(after),))
        return totals


def spelled(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids))


def test_totals_of_texts_as_lm_evaluation_harness_gives_them() -> None:
    report = audit_scorer(adapters.rolling(Rolling(TWIN), spelled, VOCAB), length=128)
    assert report.ok
    assert any("inside a text" in line for line in report.finding("causality").not_covered)
    with pytest.raises(Leak, match="moved"):
        audit_scorer(adapters.rolling(Rolling(TWIN, beside=1e-3), spelled, VOCAB), length=128).raise_for_status()
    # What is seen inside a text no flip shows; the bound does.
    found = audit_scorer(adapters.rolling(Rolling(TWIN, whole=True), spelled, VOCAB), length=128)
    assert found.finding("causality").status == Status.PASS and found.finding("null-stream").status == Status.FAIL


class Scan(nn.Module):
    """A state-space module: a decayed state, one way or also backwards."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.gate, self.head = nn.Embedding(VOCAB, 16), nn.Linear(16, 16), nn.Linear(16, VOCAB)
        self.both = both

    def forward(self, input_ids: Tensor) -> Any:
        x = self.embed(input_ids)
        decay, state, states = self.gate(x).sigmoid(), torch.zeros_like(x[:, 0]), []
        for at in range(x.shape[1]):
            state = decay[:, at] * state + x[:, at]
            states.append(state)
        h = torch.stack(states, 1)
        return SimpleNamespace(logits=self.head(h + (0.1 * h.flip(1) if self.both else 0)))


def test_a_module_like_mamba() -> None:
    assert audit_model(Scan(False), VOCAB, length=48).ok
    with pytest.raises(Leak):
        assert_causal(Scan(True), VOCAB, length=48)
