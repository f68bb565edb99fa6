"""Positions where tokens repeat: read from steps, whatever is replaced, and never from text that only looks alike."""

from __future__ import annotations

import numpy as np
import pytest

from harness.scripts.inside.locate import Locator, Tokens
from harness.scripts.play import streams


def locator(made: streams.Streams) -> Locator:
    return Locator(Tokens(made.position_of, made.alternative, made.vocab_size, 1, made.bos_positions.tolist(),
                          steps=made.steps))  # fmt: skip


@pytest.mark.parametrize("vocab_size", [128, 256, 260, 768])
@pytest.mark.parametrize("seed", range(3))
def test_any_mixture_of_the_two_streams_is_located(vocab_size: int, seed: int) -> None:
    made = streams.make(vocab_size, seed=seed)
    n = len(made.validation)
    random = np.random.default_rng(seed)
    for stream in (made.validation, made.flipped, made.suffix(n // 3), made.at(np.flatnonzero(random.random(n) < 0.5))):
        targets = stream[1:].astype(np.int64)
        found = locator(made).locate(targets[None], "whole")
        assert found is not None and (found[0] == np.arange(1, n)).all()
        rows = targets[: (n - 1) // 16 * 16].reshape(-1, 16)
        found = locator(made).locate(rows, "rows")
        assert found is not None and (found == np.arange(1, rows.size + 1).reshape(rows.shape)).all()


@pytest.mark.parametrize("seed", range(3))
def test_other_text_of_the_same_tokens_is_not(seed: int) -> None:
    made = streams.make(256, seed=seed)
    random = np.random.default_rng(seed)
    for other in (random.integers(0, 256, (16, 256)), made.train[:4096].astype(np.int64).reshape(16, 256)):
        assert locator(made).locate(other, "other") is None


def test_tokens_that_come_one_by_one_are_located_by_those_before_them() -> None:
    made = streams.make(256)
    where = locator(made)
    found = [where.locate(made.validation[at : at + 1].astype(np.int64), "one") for at in range(1, 60)]
    assert [int(one[0]) for one in found[4:] if one is not None] == list(range(5, 60))
