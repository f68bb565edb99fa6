import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.kit.config import ModelConfig, QuantizeConfig
from harness.kit.model import GPT
from harness.kit.quantize import SCALE, dequantize, quantize
from tests.kit.rows import quantize_rows

EVERYTHING = {"keep_below": 0, "min_range": 0.0}


def matrix(rows: int = 40, columns: int = 30, spread: float = 1.0, seed: int = 0) -> torch.Tensor:
    return spread * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", [6, 8])
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    spread=st.floats(1e-6, 1e4),
    quantile=st.sampled_from([0.5, 0.9, 0.9999984, 1.0]),
    floor=st.sampled_from([0.0, 1.0]),
)
def test_an_unclipped_weight_is_off_by_half_a_step_at_most(bits, seed, spread, quantile, floor):
    weights = matrix(seed=seed, spread=spread)
    cfg = QuantizeConfig(bits=bits, clip_quantile=quantile, keep_below=0, min_range=floor)
    grid, scale = quantize_rows(weights, cfg)
    limit = {8: 127, 6: 31}[bits]
    assert grid.dtype == torch.int8 and scale.dtype == torch.float16 and scale.shape == (40,)
    assert grid.abs().max() <= limit and scale.min() > 0
    step = scale.double()[:, None]
    error = (weights.double() - grid.double() * step).abs()
    inside = weights.double().abs() <= limit * step
    assert (error[inside] <= (0.5 + 1e-6) * step.expand_as(error)[inside]).all()
    # what is outside sits at the end of the grid, on its own side
    assert (grid.double()[~inside] == limit * weights.double()[~inside].sign()).all()


@pytest.mark.parametrize(("bits", "quantile"), [(8, 1.0), (6, 1.0), (8, 0.9), (6, 0.9)])
def test_the_grid_ends_at_the_quantile_of_its_row(bits, quantile):
    weights = matrix(8, 101) * torch.arange(1, 9)[:, None]
    _, scale = quantize_rows(weights, QuantizeConfig(bits=bits, clip_quantile=quantile, **EVERYTHING))
    limit = 2 ** (bits - 1) - 1
    for row, step in zip(weights, scale.tolist(), strict=True):
        ordered = row.abs().sort().values
        assert step == pytest.approx(ordered[math.floor(100 * quantile)].item() / limit, rel=1e-3)


def test_a_larger_range_makes_small_rows_coarser():
    weights = matrix(spread=1e-3)
    _, fine = quantize_rows(weights, QuantizeConfig(keep_below=0, min_range=0.0))
    _, coarse = quantize_rows(weights, QuantizeConfig(keep_below=0, min_range=1.0))
    assert torch.equal(coarse, torch.full((40,), 1 / 127).half())
    assert fine.max() < 1e-3


def test_a_row_of_zeros_stays_zero():
    weights = matrix()
    weights[3] = 0
    payload, meta = quantize({"w": weights}, QuantizeConfig(**EVERYTHING))
    assert torch.equal(dequantize(payload, meta)["w"][3], torch.zeros(30))


@pytest.mark.parametrize("bits", [6, 8])
def test_a_model_comes_back_close_and_complete(bits):
    model = GPT(ModelConfig(vocab_size=50, layers=2, dim=32, heads=2, kv_heads=1))
    state = {name: matrix(*value.shape) if value.ndim == 2 else value for name, value in model.state_dict().items()}
    payload, meta = quantize(state, QuantizeConfig(bits=bits, keep_below=600, min_range=0.0))
    restored = dequantize(payload, meta)
    model.load_state_dict(restored, strict=True)
    assert all(value.dtype == torch.float32 for value in restored.values())
    big = {name for name, value in state.items() if value.ndim == 2 and value.numel() > 600}
    assert set(meta["bits"]) == big and set(meta["bits"].values()) == {bits}
    assert {"embedding.weight", "blocks.0.mlp.up.weight"} <= big
    for name, value in state.items():
        control = "skip_weights" in name or "_scale" in name or "resid_mix" in name or "q_gain" in name
        assert payload[name].dtype == (torch.int8 if name in big else torch.float32 if control else torch.float16)
        if control:
            assert torch.equal(restored[name], value)
        assert (restored[name] - value).abs().max() < (0.1 if bits == 6 else 0.03)


def test_a_control_matrix_is_never_quantized():
    payload, meta = quantize({"blocks.0.resid_mix": matrix()}, QuantizeConfig(**EVERYTHING))
    assert meta["bits"] == {} and torch.equal(payload["blocks.0.resid_mix"], matrix())


def test_other_dtypes_pass_through():
    state = {"counter": torch.tensor(7), "mask": torch.tensor([True, False]), "half": torch.ones(3).half()}
    payload, meta = quantize(state, QuantizeConfig())
    restored = dequantize(payload, meta)
    assert restored["counter"].dtype == torch.int64 and restored["counter"].item() == 7
    assert torch.equal(restored["mask"], state["mask"])
    assert restored["half"].dtype == torch.float32


def test_quantizing_is_deterministic_and_a_fixed_point():
    cfg = QuantizeConfig(clip_quantile=1.0, **EVERYTHING)
    first = quantize({"b": matrix(seed=1), "a": matrix()}, cfg)
    again = quantize({"a": matrix(), "b": matrix(seed=1)}, cfg)
    assert list(first[0]) == list(again[0]) and first[1] == again[1]
    assert all(torch.equal(first[0][name], again[0][name]) for name in first[0])
    twice = dequantize(*quantize(dequantize(*first), cfg))
    for name, value in dequantize(*first).items():
        assert torch.allclose(twice[name], value, atol=2e-3 * value.abs().max().item())


def test_meta_is_plain_json():
    _, meta = quantize({"w": matrix()}, QuantizeConfig(**EVERYTHING))
    assert json.loads(json.dumps(meta)) == meta == {"bits": {"w": 8}}


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.tensor([[1.0, math.nan]]), "NaN or infinity"),
        (torch.tensor([1.0, math.inf]), "NaN or infinity"),
        (torch.tensor([1e6]), "too large"),
        (torch.full((2, 2), 1e9), "too large"),
    ],
)
def test_a_weight_that_cannot_be_stored_is_refused(tensor, message):
    with pytest.raises(ValueError, match=message) as caught:
        quantize({"bad.weight": tensor}, QuantizeConfig(**EVERYTHING))
    assert "bad.weight" in str(caught.value)


def test_a_reserved_name_is_refused():
    with pytest.raises(ValueError, match="reserved"):
        quantize({"w" + SCALE: matrix()}, QuantizeConfig())


@pytest.mark.parametrize("damage", ["no table", "no grid", "no scale", "short scale", "floats"])
def test_meta_that_does_not_fit_is_refused(damage):
    payload, meta = quantize({"w": matrix()}, QuantizeConfig(**EVERYTHING))
    if damage == "no table":
        meta = {}
    elif damage == "no grid":
        del payload["w"]
    elif damage == "no scale":
        del payload["w" + SCALE]
    elif damage == "short scale":
        payload["w" + SCALE] = payload["w" + SCALE][:-1]
    else:
        payload["w"] = payload["w"].float()
    with pytest.raises(ValueError, match="dequantize"):
        dequantize(payload, meta)


@pytest.mark.parametrize("bad", [{"bits": 9}, {"compressor": "zip"}, {"clip_quantile": 0.0}, {"keep_below": -1}])
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ValueError, match="QuantizeConfig"):
        QuantizeConfig(**bad)
