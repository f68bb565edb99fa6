"""The models of real submissions, at full size."""

from __future__ import annotations

import pytest
import torch

from harness.kit.config import (
    ModelConfig,
    pr1019_model,
    pr1229_model,
    pr1306_model,
    pr1333_model,
    pr1334_model,
    pr1350_model,
)
from harness.kit.model import GPT


@pytest.mark.parametrize(
    ("build", "printed"),
    [
        # "model_params:N" of each source's own logs
        (pr1019_model, 27_067_484),  # PR #1019, train_seed314.log
        (pr1229_model, 26_996_316),  # PR #1229, train_seed1337.log
        (pr1306_model, 26_993_756),  # PR #1306, train_seed1337.log
        (pr1333_model, 34_401_372),  # PR #1333, train_seed42.log
        (pr1334_model, 34_401_372),  # PR #1334, train_seed42.log
        (pr1350_model, 26_993_756),  # PR #1350, train_seed1337.log
    ],
)
def test_a_source_has_the_parameters_that_it_prints(build, printed):
    with torch.device("meta"):
        model = GPT(build())
    assert sum(param.numel() for param in model.parameters()) == printed


def test_a_source_without_its_bigrams_would_be_seen():
    with torch.device("meta"):
        model = GPT(ModelConfig(**{**vars(pr1019_model()), "bigram_buckets": 0}))
    assert abs(sum(param.numel() for param in model.parameters()) / 27_067_484 - 1) > 0.01


def test_sources_that_print_the_same_number_differ_in_what_they_say():
    gains = {build: build().qk_gain for build in (pr1019_model, pr1306_model, pr1350_model, pr1229_model, pr1334_model)}
    assert list(gains.values()) == [1.5, 1.5, 5.0, 4.0, 5.0]
    # "recurrence:activated at step 3000, virtual_layers=[...]" in the log of #1334
    with torch.device("meta"):
        model = GPT(pr1334_model()).train()
    model.progress(2999, 0.5)
    assert list(model.order()) == list(range(11))
    model.progress(3000, 0.5)
    assert list(model.order()) == [0, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9, 10]
