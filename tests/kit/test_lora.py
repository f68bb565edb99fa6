"""LoRA per document: the adapters against explicit weights, Adam by hand, and documents that do not know each other."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from harness.kit.config import ModelConfig
from harness.kit.lora import BOS, Adapters, DocumentLoRA, LoRAConfig, document_end
from harness.kit.model import GPT
from tests.kit.played import Played
from tests.support import loaded

VOCAB, CHUNK, WINDOW = 13, 4, 8
SMALL = LoRAConfig(rank=2, lr=0.05, chunk=CHUNK, window=WINDOW)


def fresh_model() -> GPT:
    torch.manual_seed(1)
    gpt = GPT(ModelConfig(vocab_size=VOCAB, layers=2, dim=16, heads=2, kv_heads=1))
    for parameter in gpt.parameters():  # the residual projections start at zero: without this nothing would mix
        nn.init.normal_(parameter, std=0.4)
    return gpt.eval()


MODEL = fresh_model()


def filled(rank: int = 3, scale: float = 1.5) -> Adapters:
    """Adapters that have learned something, in float64."""
    adapters = Adapters(MODEL, rank, scale).double()
    generator = torch.Generator().manual_seed(4)
    for parameter in adapters.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return adapters


def text(count: int, seed: int = 0) -> Tensor:
    return torch.randint(2, VOCAB, (count,), generator=torch.Generator().manual_seed(seed))


def test_fresh_adapters_are_the_base_model() -> None:
    adapters = Adapters(MODEL, rank=4)
    adapters.reset(0)
    inputs = text(20).view(2, 10)
    assert torch.equal(adapters(MODEL, inputs), MODEL(inputs))
    assert torch.equal(adapters(MODEL, inputs, first=7), MODEL(inputs)[:, 7:])
    loras = [adapters.head, *adapters.query, *adapters.value]
    assert len(loras) == 1 + 2 * MODEL.cfg.layers
    for lora in loras:
        assert not lora.b.any() and 0.5 < lora.a.abs().max() * math.sqrt(lora.a.shape[1]) <= 1


def test_an_adapter_is_a_change_of_the_weight() -> None:
    scale = 1.5
    adapters, model = filled(scale=scale), copy.deepcopy(MODEL).double()
    changed = copy.deepcopy(model)
    for block, query, value in zip(changed.blocks, adapters.query, adapters.value, strict=True):
        block.attn.query.weight.data += scale * query.b @ query.a
        block.attn.value.weight.data += scale * value.b @ value.a
    inputs = text(18, seed=5).view(2, 9)
    with torch.no_grad():
        with adapters.on(model):
            hidden = model.hidden(inputs)
        expected = changed.hidden(inputs)
        assert (expected - model.hidden(inputs)).abs().max() > 0.1  # and outside it is the base model again
        torch.testing.assert_close(hidden, expected, rtol=0, atol=1e-11)
        # The table is tied: the head's change must not reach the embedding.
        weight = model.embedding.weight + scale * adapters.head.b @ adapters.head.a
        logits = 30 * torch.tanh(expected @ weight.T / 30)
        torch.testing.assert_close(adapters(model, inputs).double(), logits, rtol=0, atol=1e-4)


def test_outside_the_model_is_as_it_was_even_after_an_error() -> None:
    adapters, inputs = filled().float(), text(10)[None]
    before = MODEL(inputs)
    with pytest.raises(RuntimeError), adapters.on(MODEL):
        assert not torch.equal(MODEL(inputs), before)
        raise RuntimeError
    assert torch.equal(MODEL(inputs), before)


def test_only_adapters_learn_and_a_reset_forgets_all_of_it() -> None:
    model = fresh_model()
    learner = DocumentLoRA(model, SMALL)
    base = {name: value.clone() for name, value in model.state_dict().items()}
    start = {name: value.clone() for name, value in learner.adapters.state_dict().items()}
    inputs = text(9)

    def lessons() -> Tensor:
        for _ in range(3):
            learner.learn(learner.rows(inputs[None, :8], 4), inputs[5:9])
        return learner.rows(inputs[None, :8], 0).detach()

    first = lessons()
    assert all(not torch.equal(value, start[name]) for name, value in learner.adapters.state_dict().items())
    learner.reset()
    assert all(torch.equal(value, start[name]) for name, value in learner.adapters.state_dict().items())
    assert torch.equal(lessons(), first)  # so Adam has forgotten its moments, too
    assert all(torch.equal(value, base[name]) for name, value in model.state_dict().items())


def restated(document: Tensor, config: LoRAConfig) -> Tensor:
    """Log-probabilities of a document by PR #77: merged weights, Adam by its formula, one chunk after the other.

    The window of each chunk ends with it and begins no earlier than the document.
    """
    adapters = Adapters(MODEL, config.rank, config.scale)
    adapters.reset(config.seed)
    factors = {name: value.clone().requires_grad_() for name, value in adapters.named_parameters()}
    first = {name: torch.zeros_like(value) for name, value in factors.items()}
    second = {name: torch.zeros_like(value) for name, value in factors.items()}
    b1, b2 = config.betas
    targets, rows = len(document) - 1, []
    for step, begin in enumerate(range(0, targets, config.chunk), start=1):
        end = begin + config.chunk
        start = max(0, end - config.window)
        merged = {}
        for layer in range(MODEL.cfg.layers):
            for kind in ("query", "value"):
                name = f"blocks.{layer}.attn.{kind}.weight"
                a, b = (factors[f"{kind}.{layer}.{factor}"] for factor in "ab")
                merged[name] = MODEL.get_parameter(name).detach() + b @ a
        weight = MODEL.embedding.weight.detach() + factors["head.b"] @ factors["head.a"]
        inputs = document[start : min(end, targets)][None]
        hidden = functional_call(Hidden(MODEL), {f"model.{name}": value for name, value in merged.items()}, (inputs,))
        logits = 30 * torch.tanh(hidden[0, begin - start :] @ weight.T / 30)
        rows.append(logits.log_softmax(-1).detach())
        if end >= targets:
            break
        loss = nn.functional.cross_entropy(logits, document[begin + 1 : end + 1])
        gradients = torch.autograd.grad(loss, list(factors.values()))
        for (name, value), g in zip(factors.items(), gradients, strict=True):
            first[name] = b1 * first[name] + (1 - b1) * g
            second[name] = b2 * second[name] + (1 - b2) * g * g
            move = (first[name] / (1 - b1**step)) / ((second[name] / (1 - b2**step)).sqrt() + config.eps)
            factors[name] = (value - config.lr * move).detach().requires_grad_()
    return torch.cat(rows)


class Hidden(nn.Module):
    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        return self.model.hidden(inputs)


def played(tokens: Tensor, config: LoRAConfig = SMALL) -> Played:
    """The shipped submission on a stream, with a small model and small chunks."""
    submission = loaded("lora_ttt")
    submission.smoke_lora = config
    stream = Played(tokens, VOCAB)
    submission.evaluate(fresh_model(), stream)
    return stream


def test_a_document_is_scored_as_the_formulas_say() -> None:
    tokens = torch.cat([torch.tensor([BOS]), text(22, seed=9)])
    stream = played(tokens, LoRAConfig(rank=2, lr=0.05, eps=1e-6, chunk=CHUNK, window=WINDOW))
    expected = restated(tokens, LoRAConfig(rank=2, lr=0.05, eps=1e-6, chunk=CHUNK, window=WINDOW))
    found = torch.stack([stream.rows[position] for position in range(1, len(tokens))])
    base = MODEL(tokens[None, :-1])[0].log_softmax(-1)
    assert (found[12:] - base[12:]).abs().max() > 0.1  # it has learned something
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=2e-3)


DOCUMENTS = st.lists(st.lists(st.integers(2, VOCAB - 1), max_size=3 * CHUNK), min_size=1, max_size=4)


def joined(documents: list[list[int]]) -> Tensor:
    return torch.tensor([token for document in documents for token in (BOS, *document)])


@settings(max_examples=12, deadline=None)
@given(before=DOCUMENTS, other=DOCUMENTS, after=DOCUMENTS, kept=st.lists(st.integers(2, VOCAB - 1), max_size=11))
def test_a_document_does_not_know_the_others(
    before: list[list[int]], other: list[list[int]], after: list[list[int]], kept: list[int]
) -> None:
    one, two = played(joined([*before, kept, *after])), played(joined([*other, kept, *before]))
    here, there = len(joined(before)), len(joined(other))
    for offset in range(1, len(kept) + 2):  # its last target is the BOS that ends it
        assert torch.equal(one.rows[here + offset], two.rows[there + offset])


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, VOCAB - 1), min_size=2, max_size=30), st.data())
def test_rows_know_nothing_of_their_own_tokens_or_later_ones(tokens: list[int], data: st.DataObject) -> None:
    # Tokens may be BOS, so that documents end elsewhere in the future: neither shapes nor windows may tell.
    at = data.draw(st.integers(1, len(tokens) - 1))
    new = data.draw(st.lists(st.integers(1, VOCAB - 1), min_size=len(tokens) - at, max_size=len(tokens) - at))
    one, two = played(torch.tensor(tokens)), played(torch.tensor(tokens[:at] + new))
    assert one.order == two.order == list(range(1, len(tokens)))
    assert all(torch.equal(one.rows[position], two.rows[position]) for position in range(1, at + 1))


def test_state_is_registered() -> None:
    stream = played(joined([[5] * 10]))
    assert isinstance(stream.kept["LoRA"], Adapters) and isinstance(stream.kept["Adam"], torch.optim.Adam)


def test_where_a_document_ends() -> None:
    for inputs, end in (([BOS, 5, 6], None), ([BOS, 5, BOS, 6, BOS], 2), ([BOS, BOS], 1), ([7], None)):
        assert document_end(torch.tensor(inputs)) == end


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"chunk": 0}, {"chunk": 256, "window": 128}])
def test_settings_without_meaning_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="LoRAConfig"):
        LoRAConfig(**wrong)  # type: ignore[arg-type]
