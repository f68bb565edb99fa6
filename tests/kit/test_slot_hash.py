"""SLOT with a table: the hash, and both vectors against AdamW in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.kit.slot import SlotConfig
from harness.kit.slot_hash import bigram_buckets, hashed_delta
from tests.kit.slot_restated import DIM, Head, adamw, random_model, tokens

ROWS = 7


@given(st.lists(st.integers(0, 70_000), min_size=1, max_size=20), st.integers(2, 4096))
def test_a_bucket_is_a_hash_of_the_two_latest_tokens(ids: list[int], buckets: int) -> None:
    found = bigram_buckets(torch.tensor([ids, ids]), buckets)
    expected = [buckets - 1] + [((36313 * x) ^ (27191 * y)) % (buckets - 1) for y, x in zip(ids, ids[1:], strict=False)]
    assert found.tolist() == [expected, expected]


@pytest.mark.parametrize("before_norm", [False, True])
def test_delta_and_table_are_adamw_on_the_mean_loss(before_norm: bool) -> None:
    config = SlotConfig(steps=16, lr=0.008, before_norm=before_norm)
    model = random_model()
    inputs, targets = tokens(2, 14)
    hidden = (model.body if before_norm else model.hidden)(inputs).flatten(0, 1)
    buckets = bigram_buckets(inputs, ROWS).flatten()
    buckets[buckets == 3] = 4  # so that one bucket is empty
    found = hashed_delta(model, hidden, buckets, targets.flatten(), config, rows=ROWS)
    head, h, y, b = Head(model), hidden.double().numpy(), targets.flatten().numpy(), buckets.numpy()

    def gradients(at: list[np.ndarray]) -> list[np.ndarray]:
        moved = h + at[0] + at[1][b]
        rows = (head.back_from_before_norm(moved, y) if before_norm else head.back(moved, y)[0]) / len(y)
        return [rows.sum(0), np.stack([rows[b == bucket].sum(0) for bucket in range(ROWS)])]

    delta, table = adamw([np.zeros(DIM), np.zeros((ROWS, DIM))], gradients, config)
    assert np.abs(delta).max() > 0.05 and np.abs(table).max() > 0.05
    np.testing.assert_allclose(found.delta.double().numpy(), delta, atol=3e-5)
    np.testing.assert_allclose(found.table.double().numpy(), table, atol=3e-5)
    assert not found.table[3].any()
    at = found.at(torch.tensor([[2, 3]]))
    assert torch.equal(at[0, 1], found.delta) and torch.equal(at[0, 0], found.delta + found.table[2])


def test_without_targets_nothing_is_added() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    found = hashed_delta(random_model(), torch.zeros(0, DIM), none, none, SlotConfig())
    assert not found.delta.any() and not found.table.any() and found.table.shape == (128, DIM)
