"""Clips, widths and names: each against a formula written down again in float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.kit.config import Override, QuantizeConfig
from harness.kit.quantize import SCALE, dequantize, quantize
from tests.kit.rows import quantize_rows

FREE = {"keep_below": 0, "min_range": 0.0}


def matrix(rows=12, columns=50, seed=0):
    return (
        torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * torch.logspace(-2, 1, rows)[:, None]
    )


@pytest.mark.parametrize(("bits", "limit"), [(8, 127), (7, 63), (6, 31), (5, 15), (4, 7), (3, 3), (2, 1)])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_every_width_is_off_by_half_a_step_at_most(bits, limit, seed):
    weights = matrix(seed=seed)
    grid, scale = quantize_rows(weights, QuantizeConfig(bits=bits, clip_quantile=1.0, **FREE))
    assert int(grid.abs().max()) == limit
    restored = grid.double() * scale.double()[:, None]
    # the float16 step may be shorter than the range by 2^-11 of it, which the largest weight is then off by
    slack = 0.5 + limit * 2.0**-11
    assert ((restored - weights.double()).abs() <= slack * scale.double()[:, None]).all()


@pytest.mark.parametrize(("bits", "k"), [(6, 12.85), (8, 20.0), (5, 3.0)])
def test_sd_clip_is_k_deviations_over_the_limit(bits, k):
    weights = matrix()
    grid, scale = quantize_rows(weights, QuantizeConfig(bits=bits, clip="sd", sd_clip=k))
    for row, step, points in zip(weights.tolist(), scale.tolist(), grid.tolist(), strict=True):
        mean = sum(row) / len(row)
        deviation = math.sqrt(sum((x - mean) ** 2 for x in row) / (len(row) - 1))
        limit = 2 ** (bits - 1) - 1
        assert step == pytest.approx(k * deviation / limit, rel=1e-3)
        assert points == [max(-limit, min(limit, round(x / step))) for x in row]


def test_the_search_takes_the_quantile_with_the_least_squared_error():
    weights = matrix(20, 400)
    candidates = (0.7, 0.95, 0.98, 1.0)
    errors = {}
    for quantile in candidates:
        step = np.float16(np.quantile(weights.abs().double().numpy(), quantile, axis=1) / 3).astype(float)[:, None]
        points = np.clip(np.round(weights.double().numpy() / step), -3, 3)
        errors[quantile] = float(((points * step - weights.double().numpy()) ** 2).mean())
    best = min(candidates, key=errors.__getitem__)
    assert best not in (candidates[0], candidates[-1])  # the search has something to find
    searched = quantize_rows(weights, QuantizeConfig(bits=3, clip="search", clip_candidates=candidates, **FREE))
    fixed = quantize_rows(weights, QuantizeConfig(bits=3, clip_quantile=best, **FREE))
    assert torch.equal(searched[0], fixed[0]) and torch.equal(searched[1], fixed[1])


def test_rows_that_matter_more_get_wider_grids():
    weights = matrix(8, 30)
    hessian = torch.diag(torch.linspace(0.1, 3, 30)).double()
    plain = QuantizeConfig(bits=6, clip="sd", keep_below=0)
    aware = QuantizeConfig(bits=6, clip="sd", keep_below=0, hessian_clip=0.175)
    before = quantize({"w": weights}, plain)[0]["w" + SCALE].double()
    after = quantize({"w": weights}, aware, {"w": hessian})[0]["w" + SCALE].double()
    salience = (weights.abs().double() * hessian.diagonal()).mean(1)
    expected = 1 + 0.175 * (salience / salience.mean() - 1)
    torch.testing.assert_close(after / before, expected, rtol=2e-3, atol=0)


def test_names_decide_the_width_and_the_first_pattern_counts():
    state = {
        "embedding.weight": matrix(seed=1),
        "blocks.0.mlp.up.weight": matrix(seed=2),
        "blocks.0.attn.key.weight": matrix(seed=3),
        "blocks.3.mlp.up.weight": matrix(seed=4),
        "blocks.0.resid_mix": matrix(2, 50, seed=5),
    }
    how = QuantizeConfig(
        bits=6,
        clip="sd",
        keep_below=0,
        overrides=(
            Override("blocks.3.*", bits=8, clip="quantile", clip_quantile=0.9),
            Override("*.mlp.*", bits=5, sd_clip=4.0),
            Override("embedding.weight", bits=16),
        ),
    )
    payload, meta = quantize(state, how)
    assert meta == {"bits": {"blocks.0.attn.key.weight": 6, "blocks.0.mlp.up.weight": 5, "blocks.3.mlp.up.weight": 8}}
    assert payload["embedding.weight"].dtype == torch.float16 and payload["blocks.0.resid_mix"].dtype == torch.float32
    alone = {
        "blocks.0.attn.key.weight": QuantizeConfig(bits=6, clip="sd"),
        "blocks.0.mlp.up.weight": QuantizeConfig(bits=5, clip="sd", sd_clip=4.0),
        "blocks.3.mlp.up.weight": QuantizeConfig(bits=8, clip_quantile=0.9),
    }
    for name, settings_ in alone.items():
        grid, scale = quantize_rows(state[name], settings_)
        assert torch.equal(payload[name], grid) and torch.equal(payload[name + SCALE], scale)
    restored = dequantize(payload, meta)
    assert restored.keys() == state.keys()


@pytest.mark.parametrize(
    "bad",
    [
        {"bits": 1},
        {"bits": 9},
        {"clip": "best"},
        {"clip_candidates": ()},
        {"clip_candidates": (0.9, 1.5)},
        {"sd_clip": 0.0},
        {"hessian_clip": -1.0},
        {"damping": -0.1},
        {"block_columns": 0},
        {"hadamard": 96},
        {"byte_shuffle": 1},
        {"byte_shuffle": 2, "compressor": "range"},
        {"prune_to": -1},
        {"prune_values": 3},
        {"overrides": (Override("*", bits=11),)},
        {"overrides": (Override("*", clip="none"),)},
    ],
)
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ValueError, match="QuantizeConfig: "):
        QuantizeConfig(**bad)
