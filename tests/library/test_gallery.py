"""Every leak of the gallery is caught at default settings over ten seeds, and no twin is accused."""

from __future__ import annotations

import pytest
import torch

from harness import assert_causal
from harness.library.report import Leak
from tests.library.gallery import GALLERY, VOCAB

#: The other seven are among what `make more` runs.
SEEDS = [pytest.param(range(3)), pytest.param(range(3, 10), marks=pytest.mark.more)]


@pytest.mark.parametrize("seeds", SEEDS, ids=["three", "seven"])
@pytest.mark.parametrize("name", GALLERY)
def test_the_leak_is_caught_and_its_twin_is_not(name: str, seeds: range) -> None:
    shown = GALLERY[name]
    for seed in seeds:
        with pytest.raises(Leak, match="moved") as caught:
            assert_causal(shown.leak(seed), VOCAB, seed=seed)
        assert caught.value.report.calls <= 16 and caught.value.report.sequences <= 16
        assert caught.value.report.finding("causality").witness is not None
        report = assert_causal(shown.twin(seed), VOCAB, seed=seed)
        assert report.ok and report.calls <= 16 and report.sequences <= 16


@pytest.mark.parametrize("name", GALLERY)
def test_neither_is_another_in_bfloat16(name: str) -> None:
    shown = GALLERY[name]
    with pytest.raises(Leak):
        assert_causal(shown.leak(0).to(torch.bfloat16), VOCAB, seed=0)
    assert assert_causal(shown.twin(0).to(torch.bfloat16), VOCAB, seed=0).ok
