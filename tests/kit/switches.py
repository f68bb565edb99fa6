"""Small models with any of the switched parts, for tests."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st

from harness.kit.config import ModelConfig
from harness.kit.model import GPT

BASE: dict[str, Any] = {"vocab_size": 37, "layers": 5, "dim": 24, "heads": 4, "kv_heads": 2, "mlp_ratio": 1.5}

#: Each switch by itself, with what it needs.
SWITCHES: dict[str, dict[str, Any]] = {
    "leaky": {"leaky_slope": 0.5},
    "orthogonal": {"orthogonal_init": True},
    "ln_scale": {"ln_scale": True},
    "partial_rope": {"rope_dims": 4},
    "stretched_rope": {"rope_train_length": 5},
    "xsa_last": {"xsa_last": 2},
    "xsa_all": {"xsa_last": 5},
    "skip_gates": {"skip_gates": True},
    "channel_smear": {"smear": "channel"},
    "channel_smear_bos": {"smear": "channel", "smear_bos": 1},
    "token_smear": {"smear": "token"},
    "token_smear_bos": {"smear": "token", "smear_bos": 1},
    "bigram": {"bigram_buckets": 17, "bigram_dim": 8},
    "bigram_unprojected": {"bigram_buckets": 17, "bigram_dim": 24},
    "values": {"ve_layers": (1, 4), "ve_dim": 8},
    "recurrence": {"recur_layers": (1, 2)},
    "recurrence_often": {"recur_layers": (2, 3), "recur_times": 2, "recur_skips": True},
    "joint": {"parallel": "joint", "parallel_from": 1},
    "lanes": {"parallel": "lanes", "parallel_from": 3},
    "lanes_from_the_first": {"parallel": "lanes", "parallel_from": 0},
    "like_1019": {
        "leaky_slope": 0.5,
        "ln_scale": True,
        "rope_dims": 4,
        "rope_train_length": 5,
        "xsa_last": 5,
        "smear": "channel",
        "bigram_buckets": 17,
        "bigram_dim": 8,
        "ve_layers": (3, 4),
        "ve_dim": 8,
    },
    "like_1334": {
        "leaky_slope": 0.5,
        "ln_scale": True,
        "rope_dims": 4,
        "xsa_last": 5,
        "skip_gates": True,
        "ve_layers": (3, 4),
        "ve_dim": 8,
        "recur_layers": (1, 2),
        "parallel": "lanes",
        "parallel_from": 3,
    },
}


def config(**switches: object) -> ModelConfig:
    """The small model with some switches."""
    return ModelConfig(**BASE | switches)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    """Gaussian numbers, float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@st.composite
def configs(draw: st.DrawFn) -> ModelConfig:
    """Any set of switches, on models of one to five layers."""
    layers = draw(st.integers(1, 5))
    some_layers = st.sets(st.integers(0, layers - 1)).map(lambda chosen: tuple(sorted(chosen)))
    smear = draw(st.sampled_from(["off", "channel", "token"]))
    return ModelConfig(
        **BASE | {"layers": layers, "kv_heads": draw(st.sampled_from([1, 2, 4])), "tied": draw(st.booleans())},
        leaky_slope=draw(st.sampled_from([0.0, 0.5])),
        ln_scale=draw(st.booleans()),
        rope_dims=draw(st.sampled_from([0, 4])),
        rope_train_length=draw(st.sampled_from([0, 5])),
        xsa_last=draw(st.integers(0, layers)),
        skip_gates=draw(st.booleans()),
        smear=smear,
        smear_bos=None if smear == "off" else draw(st.sampled_from([None, 1])),
        smear_width=draw(st.sampled_from([1, 12, 24])),
        bigram_buckets=draw(st.sampled_from([0, 2, 17])),
        bigram_dim=draw(st.sampled_from([8, 24])),
        ve_layers=draw(some_layers),
        ve_dim=draw(st.sampled_from([6, 8])),
        recur_layers=draw(some_layers),
        recur_times=draw(st.integers(1, 2)),
        recur_skips=draw(st.booleans()),
        parallel=draw(st.sampled_from(["off", "joint", "lanes"])),
        parallel_from=draw(st.integers(0, layers - 1)),
    )


def randomized(cfg: ModelConfig, seed: int = 0) -> GPT:
    """A model in evaluation mode with no weight at its initial zero or one: a mistake anywhere shows in the output."""
    model = GPT(cfg).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for param in model.parameters():
            param.normal_(0, 0.5, generator=generator)
    return model


def tokens(rows: int, length: int, vocab_size: int = 37, seed: int = 0) -> torch.Tensor:
    """Random ids, int64 [rows, length]."""
    return torch.randint(vocab_size, (rows, length), generator=torch.Generator().manual_seed(seed))
