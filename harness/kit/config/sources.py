"""Models of real submissions at full size, as switches of the kit's GPT.

All of them keep their matrices in three-dimensional banks or name them otherwise; the numbers of parameters are those
that the sources print.
"""

from __future__ import annotations

from dataclasses import replace

from harness.kit.config.model import ModelConfig


def pr1019_model(vocab_size: int = 1024) -> ModelConfig:
    """PR #1019: 11 layers, MLP of three times the width, XSA everywhere, BigramHash 3072 x 112; 27,067,484 parameters.

    Its rotary base stretches for sequences over 1024, so it does in training too: the source trains at 2048.
    """
    return ModelConfig(
        vocab_size=vocab_size,
        layers=11,
        mlp_ratio=3.0,
        orthogonal_init=True,
        leaky_slope=0.5,
        ln_scale=True,
        rope_dims=16,
        rope_train_length=1024,
        xsa_last=11,
        smear="channel",
        bigram_buckets=3072,
        bigram_dim=112,
        ve_layers=(9, 10),
    )


def pr1306_model(vocab_size: int = 1024) -> ModelConfig:
    """PR #1306: that of #1019 with its script's own BigramHash of 2048 x 128; 26,993,756 parameters."""
    return replace(pr1019_model(vocab_size), bigram_buckets=2048, bigram_dim=128)


def pr1350_model(vocab_size: int = 1024) -> ModelConfig:
    """PR #1350: that of #1306 with an initial query gain of 5; 26,993,756 parameters."""
    return replace(pr1306_model(vocab_size), qk_gain=5.0)


def pr1229_model(vocab_size: int = 1024) -> ModelConfig:
    """PR #1229: that of #1306 with an initial query gain of 4 and gated skips; 26,996,316 parameters."""
    return replace(pr1306_model(vocab_size), qk_gain=4.0, skip_gates=True)


def pr1334_model(vocab_size: int = 4096) -> ModelConfig:
    """PR #1334: MLP of four times the width, layers 4 and 5 twice, two lanes from layer 7; 34,401,372 parameters.

    Neither SmearGate nor bigrams. Layers are repeated from step 3000 of the training on.
    """
    return ModelConfig(
        vocab_size=vocab_size,
        layers=11,
        mlp_ratio=4.0,
        qk_gain=5.0,
        orthogonal_init=True,
        leaky_slope=0.5,
        ln_scale=True,
        rope_dims=16,
        rope_train_length=2048,
        xsa_last=11,
        skip_gates=True,
        ve_layers=(9, 10),
        recur_layers=(4, 5),
        recur_from_step=3000,
        parallel="lanes",
        parallel_from=7,
    )


def pr1333_model(vocab_size: int = 4096) -> ModelConfig:
    """PR #1333: the model of #1334, evaluated with a SLOT."""
    return pr1334_model(vocab_size)
