"""Rows for drawn text are the rows that the sliding window would score."""

from __future__ import annotations

import pytest
import torch

from harness.kit import GPT, ModelConfig
from harness.kit.generate import Generator, window_start
from harness.kit.windows import sliding

LENGTH, STRIDE = 32, 8


@pytest.mark.parametrize("targets", [5, 32, 33, 40, 41, 100])
def test_the_window_is_the_one_that_scores_the_position(targets: int) -> None:
    for window in sliding(targets, LENGTH, STRIDE):
        for offset in range(window.first, window.size):
            assert window_start(window.start + 1 + offset, LENGTH, STRIDE) == window.start


@pytest.mark.parametrize(("layers", "kv_heads"), [(2, 1), (3, 2)])
def test_cached_rows_equal_rows_computed_afresh(layers: int, kv_heads: int) -> None:
    torch.manual_seed(0)
    model = GPT(ModelConfig(vocab_size=50, layers=layers, dim=32, heads=2, kv_heads=kv_heads)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    tokens = torch.ones(3, 1, dtype=torch.int64)
    generator = Generator(model, tokens[:, 0], LENGTH, STRIDE)
    for position in range(1, 70):
        rows = generator.rows()
        with torch.inference_mode():
            afresh = model(tokens[:, window_start(position, LENGTH, STRIDE) :])[:, -1]
        torch.testing.assert_close(rows, afresh, atol=1e-4, rtol=1e-4)
        drawn = torch.randint(0, 50, (3,))
        generator.append(drawn)
        tokens = torch.cat((tokens, drawn[:, None]), dim=1)
