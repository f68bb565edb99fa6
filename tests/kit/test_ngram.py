"""N-gram counts against plain dictionaries, hints against a loop over the text, and the tilt against its formula."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.kit.config import ModelConfig
from harness.kit.model import GPT
from harness.kit.ngram import Followers, Hints, Order, Slots, TiltConfig, context_keys, shorter, tilt
from tests.kit.played import Played
from tests.support import loaded

VOCAB = 4
TEXTS = st.lists(st.integers(0, VOCAB - 1), min_size=2, max_size=80)
ORDERS = (Order(1, 0.6, 3), Order(3, 0.5, 2), Order(4, 0.5, 1))
SMALL = TiltConfig(orders=ORDERS, beta=2.0, bits=8)


def array(tokens: list[int]) -> np.ndarray:
    return np.array(tokens, np.int64)


@given(TEXTS, st.integers(1, 5), st.integers(1, 80))
def test_keys_are_equal_where_contexts_are(tokens: list[int], size: int, count: int) -> None:
    count = min(count, len(tokens))
    keys = context_keys(array(tokens), count, size)
    contexts = [tuple(tokens[max(0, end - size + 1) : end + 1]) for end in range(len(tokens) - count, len(tokens))]
    assert len(keys) == count
    for key, context in zip(keys, contexts, strict=True):
        assert (key == 0) == (len(context) < size)
    for one, a in zip(keys, contexts, strict=True):
        assert all((one == other) == (a == b) for other, b in zip(keys, contexts, strict=True) if one and other)


@given(st.lists(st.lists(st.integers(1, 60), max_size=20, unique=True), max_size=5))
def test_slots_hold_what_they_have_room_for(calls: list[list[int]]) -> None:
    slots, held = Slots(bits=5), {}  # 32 slots for up to 60 keys, each looked for in 16
    for keys in calls:
        found = slots.find(np.array(keys, np.uint64), claim=True)
        for key, slot in zip(keys, found.tolist(), strict=True):
            assert held.setdefault(key, slot) == slot or held[key] == -1
            if slot >= 0:
                held[key] = slot
    kept = [slot for slot in held.values() if slot >= 0]
    assert len(set(kept)) == len(kept)
    assert kept or not held
    everything = np.arange(1, 61).astype(np.uint64)
    assert slots.find(everything).tolist() == [held.get(int(key), -1) for key in everything]


def followers(tokens: list[int], size: int) -> dict[tuple[int, ...], tuple[int, int, int]]:
    """For each context: times seen, the token that was first to be the most frequent one, and how often it came."""
    counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    best: dict[tuple[int, ...], int] = {}
    for i in range(size, len(tokens)):
        context = tuple(tokens[i - size : i])
        counts[context][tokens[i]] += 1
        leader = best.setdefault(context, tokens[i])
        if counts[context][tokens[i]] > counts[context][leader]:
            best[context] = tokens[i]
    return {c: (sum(seen.values()), best[c], seen[best[c]]) for c, seen in counts.items()}


@given(TEXTS, st.integers(1, 3), st.integers(1, 30))
def test_counts_are_those_of_a_dictionary_however_they_are_cut(tokens: list[int], size: int, segment: int) -> None:
    table = Followers(bits=12)
    for first in range(1, len(tokens), segment):
        targets = tokens[first : first + segment]
        inputs = array(tokens[: first + len(targets) - 1])
        table.count(context_keys(inputs, len(targets), size), array(targets))
    expected = followers(tokens, size)
    for context, facts in expected.items():
        found = table.look_up(context_keys(array(list(context)), 1, size))
        assert tuple(int(value[0]) for value in found) == facts
    unseen = array([VOCAB] * size)
    assert [int(value[0]) for value in table.look_up(context_keys(unseen, 1, size))] == [0, -1, 0]
    assert [int(value[0]) for value in table.look_up(np.zeros(1, np.uint64))] == [0, -1, 0]


def plain_hint(before: list[int], inputs: list[int], config: TiltConfig) -> tuple[int, float]:
    """The hint for the token after `inputs` when `before` was counted."""
    for order in reversed(config.orders):
        known = (
            followers(before, order.tokens).get(tuple(inputs[-order.tokens :])) if len(inputs) >= order.tokens else None
        )
        if known and known[0] >= order.seen and known[2] / known[0] >= order.certainty:
            return known[1], config.beta * known[2] / known[0]
    return -1, 0.0


@settings(max_examples=40)
@given(st.lists(st.integers(0, 1), min_size=6, max_size=60), st.integers(1, 9))
def test_hints_are_those_of_a_loop_over_what_was_counted(tokens: list[int], segment: int) -> None:
    hints = Hints(SMALL)
    for first in range(1, len(tokens), segment):
        targets = tokens[first : first + segment]
        inputs = array(tokens[: first + len(targets) - 1])
        hint, beta = hints.hints(inputs, len(targets))
        for i in range(len(targets)):
            expected = plain_hint(tokens[:first], tokens[: first + i], SMALL)
            assert int(hint[i]) == expected[0] and float(beta[i]) == pytest.approx(expected[1], rel=1e-6)
        hints.count(inputs, array(targets))


def test_the_fingerprint_follows_what_is_written() -> None:
    one, two, seen = Hints(SMALL), Hints(SMALL), [0]
    for first in range(0, 20, 5):
        for hints in (one, two):
            hints.count(array([0, 1, 2, 3] * 2 + [first % 3, 1, 2, 0, 1]), array([2, 3, 0, 1, 2]))
        assert one.fingerprint() == two.fingerprint() not in seen
        seen.append(one.fingerprint())
    two.count(array([0, 1, 2, 3]), array([1, 1, 1]))
    one.count(array([0, 1, 2, 3]), array([1, 1, 2]))
    assert one.fingerprint() != two.fingerprint()


@given(st.integers(0, 2**31), st.floats(0, 8))
def test_a_tilted_row_is_the_formula_and_sums_to_one(seed: int, beta: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = (torch.randn(5, 9, generator=generator, dtype=torch.float64) * 3).log_softmax(-1)
    hint = torch.randint(-1, 9, (5,), generator=generator)
    tilted = tilt(rows, hint, torch.full((5,), beta))
    beta = float(torch.tensor(beta))  # as float32 has it
    assert (tilted.exp().sum(-1) - 1).abs().max() < 1e-12
    for row, found, h in zip(rows.exp().tolist(), tilted.exp().tolist(), hint.tolist(), strict=True):
        z = 1 + row[h] * (math.exp(beta) - 1) if h >= 0 else 1.0
        expected = [p * (math.exp(beta) if v == h else 1.0) / z for v, p in enumerate(row)]
        assert found == pytest.approx(expected, rel=1e-9)


def test_a_row_without_a_hint_is_left_alone() -> None:
    rows = torch.randn(3, 9).log_softmax(-1)
    assert torch.equal(tilt(rows, torch.full((3,), -1), torch.full((3,), 2.0)), rows)


def played(tokens: list[int]) -> Played:
    """The shipped submission on a stream, with a small model, small windows and short contexts."""
    torch.manual_seed(0)
    model = GPT(ModelConfig(vocab_size=VOCAB, layers=1, dim=8, heads=1, kv_heads=1)).eval()
    nn.init.normal_(model.embedding.weight)
    submission = loaded("ngram_tilt")
    submission.smoke_window, submission.stride, submission.windows_per_batch = 8, 3, 2
    submission.smoke_tilt = SMALL
    stream = Played(tokens, VOCAB)
    submission.evaluate(model, stream)
    return stream


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=20, max_size=50), st.data())
def test_rows_know_nothing_of_their_own_tokens_or_later_ones(tokens: list[int], data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(tokens) - 1))
    new = [3 - token for token in tokens[at:]]
    one, two = played(tokens), played(tokens[:at] + new)
    assert one.order == two.order == list(range(1, len(tokens)))
    assert all(torch.equal(one.rows[position], two.rows[position]) for position in range(1, at + 1))
    assert torch.stack(list(one.rows.values())).double().exp().sum(-1).sub(1).abs().max() < 1e-6


def test_the_shipped_tilt_does_something() -> None:
    stream = played([0, 1, 2, 3] * 12)
    first, last = (float(stream.rows[position][position % 4]) for position in (5, 45))
    assert last > first + 0.5 and stream.kept["n-gram tables"]() != 0


def test_orders() -> None:
    assert [order.tokens for order in shorter(TiltConfig().orders, 2)] == [4, 5, 6, 7, 8]
    for wrong in ({"orders": ()}, {"orders": (Order(3, 0.5, 1), Order(2, 0.5, 1))}, {"beta": -1.0}, {"bits": 0}):
        with pytest.raises(ValueError, match="TiltConfig"):
            TiltConfig(**wrong)  # type: ignore[arg-type]
