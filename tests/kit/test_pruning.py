"""Pruning to a byte limit: it fits, it drops what costs least, or it says that it cannot."""

import numpy as np
import pytest
import torch

from harness.kit.artifact import unpack
from harness.kit.config import QuantizeConfig
from harness.kit.pruning import Candidates, pack_to_fit
from harness.kit.quantize import SCALE, quantize

HOW = {"bits": 4, "keep_below": 0, "min_range": 0.0, "compressor": "zlib", "level": 6}


@pytest.fixture
def made():
    generator = torch.Generator().manual_seed(0)
    state = {"a": torch.randn(60, 80, generator=generator), "b": 3 * torch.randn(40, 50, generator=generator)}
    return quantize(state, QuantizeConfig(**HOW))


@pytest.mark.parametrize("compressor", ["zlib", "range"])
@pytest.mark.parametrize("values", [1, 2])
def test_it_fits_and_drops_the_least_errors(made, compressor, values):
    payload, meta = made
    level = None if compressor == "range" else 6
    how = QuantizeConfig(**{**HOW, "compressor": compressor, "level": level}, prune_values=values)
    whole = len(pack_to_fit(payload, meta, how))
    limit = whole - 150
    blob = pack_to_fit(payload, meta, QuantizeConfig(**{**how.__dict__, "prune_to": limit}))
    assert limit - 40 <= len(blob) <= limit
    kept, _ = unpack(blob)
    dropped, left = [], []
    for name in meta["bits"]:
        before, after = payload[name].numpy().astype(int), kept[name].numpy().astype(int)
        error = (before * payload[name + SCALE].numpy().astype(float)[:, None]) ** 2
        gone = before != after
        assert (after[gone] == 0).all() and (np.abs(before[gone]) <= values).all()
        assert torch.equal(kept[name + SCALE], payload[name + SCALE])
        dropped.append(error[gone])
        left.append(error[~gone & (np.abs(before) <= values) & (before != 0)])
    assert np.concatenate(dropped).size and np.concatenate(dropped).max() <= np.concatenate(left).min()


def test_what_fits_is_left_alone(made):
    payload, meta = made
    plain = pack_to_fit(payload, meta, QuantizeConfig(**HOW))
    assert pack_to_fit(payload, meta, QuantizeConfig(**HOW, prune_to=len(plain))) == plain
    assert all(torch.equal(unpack(plain)[0][name], payload[name]) for name in payload)


def test_it_says_when_it_cannot(made):
    payload, meta = made
    with pytest.raises(ValueError, match=r"cannot be cut to 900: with all [\d,]+ candidates dropped it still has"):
        pack_to_fit(payload, meta, QuantizeConfig(**HOW, prune_to=900))


def test_nothing_to_drop():
    payload, meta = quantize({"a": torch.zeros(4, 4)}, QuantizeConfig(**HOW))
    assert Candidates(payload, meta).count == 0
    with pytest.raises(ValueError, match="with all 0 candidates"):
        pack_to_fit(payload, meta, QuantizeConfig(**HOW, prune_to=10))
    assert Candidates({}, {"bits": {}}).without(0) == {}
