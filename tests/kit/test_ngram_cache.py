"""The hashed cache: its counts against a dictionary, its mix against the formula, and that it is no distribution."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from harness.kit.config import ModelConfig
from harness.kit.model import GPT
from harness.kit.ngram_cache import _PLACES, CacheConfig, HashedCache
from tests.kit.played import Played
from tests.support import loaded

VOCAB = 9
TEXTS = st.lists(st.integers(0, VOCAB - 1), min_size=3, max_size=70)


def array(tokens: list[int]) -> np.ndarray:
    return np.array(tokens, np.int64)


def buckets(context: list[int], token: int, count: int) -> tuple[int, int]:
    """Where a context and a token after it are counted: multiply, XOR, keep the low bits."""
    key = 0
    for place, part in enumerate(context):
        key ^= part * int(_PLACES[place])
    return key % count, (key ^ token * int(_PLACES[len(context)])) % 2**64 % count


@given(TEXTS, st.integers(1, 20), st.sampled_from([2, 16, 4096]))
def test_look_ups_are_those_of_dictionaries(tokens: list[int], segment: int, size: int) -> None:
    cache = HashedCache(CacheConfig(shortest=2, longest=4, buckets=size))
    contexts: Counter[tuple[int, int]] = Counter()
    full: Counter[tuple[int, int]] = Counter()
    for first in range(1, len(tokens), segment):
        ends = range(first, min(first + segment, len(tokens)))
        inputs, targets = array(tokens[: ends[-1]]), array(tokens[first : ends[-1] + 1])
        for end, said in zip(ends, cache.look_up(inputs, targets), strict=True):
            expected = math.nan
            for order in (2, 3, 4):
                if end >= order - 1:
                    c, f = buckets(tokens[end - order + 1 : end], tokens[end], size)
                    seen = contexts[order, c]
                    expected = min(full[order, f], seen) / seen if seen >= 2 else expected
            assert said == pytest.approx(expected, nan_ok=True)
        cache.count(inputs, targets)
        for end in ends:
            for order in (2, 3, 4):
                if end >= order - 1:
                    c, f = buckets(tokens[end - order + 1 : end], tokens[end], size)
                    contexts[order, c] += 1
                    full[order, f] += 1


def row_sum(cache: HashedCache, inputs: list[int], vocabulary: int) -> float:
    """What the cache says of all tokens after one context, asked one by one."""
    return sum(float(cache.look_up(array(inputs), array([token]))[0]) for token in range(vocabulary))


def test_with_buckets_to_spare_it_is_a_distribution_and_with_few_it_is_not() -> None:
    text = torch.randint(50, (2000,), generator=torch.Generator().manual_seed(0)).tolist()
    sums = {}
    for size in (1 << 22, 64):
        cache = HashedCache(CacheConfig(shortest=2, longest=2, buckets=size))
        cache.count(array(text[:-1]), array(text[1:]))
        sums[size] = row_sum(cache, text[:5], 50)
    assert sums[1 << 22] == pytest.approx(1.0)
    assert sums[64] > 20  # 2,000 entries in 64 buckets: nearly every token is told that it is likely


def test_the_mix_claims_more_than_there_is() -> None:
    cache = HashedCache(CacheConfig(buckets=16))
    text = torch.randint(50, (2000,), generator=torch.Generator().manual_seed(1)).tolist()
    cache.count(array(text[:-1]), array(text[1:]))
    every = np.arange(50)
    said = np.array([float(cache.look_up(array(text[:8]), array([token]))[0]) for token in every])
    uniform = np.full(50, 1 / 50)
    claimed = cache.mix(uniform, np.full(50, math.log(50)), said)
    weight = 0.05 + 0.55 / (1 + math.exp(-2 * (math.log(50) - 4)))
    assert claimed == pytest.approx((1 - weight) / 50 + weight * said)
    assert claimed.sum() > 5


def test_where_the_cache_says_nothing_the_model_has_it_all() -> None:
    cache = HashedCache(CacheConfig(buckets=16))
    mixed = cache.mix(np.array([0.25, 0.0, 0.5]), np.array([1.0, 2.0, 4.0]), np.array([np.nan, np.nan, 1.0]))
    assert mixed.tolist() == pytest.approx([0.25, 1e-12, 0.5 * (1 - 0.325) + 0.325])


@pytest.mark.parametrize("wrong", [{"shortest": 1}, {"longest": 9}, {"buckets": 12}])
def test_settings_without_meaning_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="CacheConfig"):
        CacheConfig(**wrong)


def test_the_submission_claims_what_sums_to_more_than_one() -> None:
    torch.manual_seed(0)
    model = GPT(ModelConfig(vocab_size=VOCAB, layers=1, dim=8, heads=1, kv_heads=1)).eval()
    nn.init.normal_(model.embedding.weight)
    text = torch.randint(VOCAB, (120,), generator=torch.Generator().manual_seed(2)).tolist()

    def claimed(token: int) -> tuple[float, Played]:
        """What is claimed for a token in the place of the one at position 100."""
        submission = loaded("ngram_cache")
        submission.smoke_window, submission.stride, submission.windows_per_batch = 16, 8, 4
        submission.smoke_cache = CacheConfig(buckets=8, middle=0.0)
        stream = Played([*text[:100], token, *text[101:]], VOCAB)
        submission.evaluate(model, stream)
        return math.exp(float(stream.rows[100])), stream

    answers = [claimed(token) for token in range(VOCAB)]
    assert sum(probability for probability, _ in answers) > 1.5
    for _, stream in answers:
        assert stream.order == list(range(1, 120)) and stream.kept["n-gram tables"]() != 0
        assert all(torch.equal(stream.rows[p], answers[0][1].rows[p]) for p in range(1, 100))
