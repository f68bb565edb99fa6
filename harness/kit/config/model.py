"""The shape of the kit's GPT. The defaults are the contest's baseline."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the baseline GPT.

    Attributes:
        vocab_size: number of token ids.
        layers: number of blocks; the first half pushes U-net skips, the second half pops them.
        dim: width of the residual stream.
        heads: query heads; `dim / heads` is the head width and must be even.
        kv_heads: key/value heads, each shared by `heads / kv_heads` query heads.
        mlp_ratio: width of the MLP's hidden layer over `dim`.
        rope_base: base of the rotary frequencies.
        softcap: logits are `softcap * tanh(z / softcap)`.
        qk_gain: initial gain of every head's normalised queries.
        tied: whether the head uses the embedding's weight.
        emb_std: standard deviation of the initial embedding.
    """

    vocab_size: int = 1024
    layers: int = 9
    dim: int = 512
    heads: int = 8
    kv_heads: int = 4
    mlp_ratio: float = 2.0
    rope_base: float = 10_000.0
    softcap: float = 30.0
    qk_gain: float = 1.5
    tied: bool = True
    emb_std: float = 0.005

    def __post_init__(self) -> None:
        """Reject shapes that no model can have (ValueError)."""
        if min(self.vocab_size, self.layers, self.dim, self.heads, self.kv_heads) < 1:
            raise ValueError("ModelConfig: vocab_size, layers, dim, heads and kv_heads must be at least 1")
        if self.dim % (2 * self.heads):
            raise ValueError(f"ModelConfig: dim {self.dim} must be a multiple of twice heads ({self.heads})")
        if self.heads % self.kv_heads:
            raise ValueError(f"ModelConfig: heads {self.heads} must be a multiple of kv_heads {self.kv_heads}")
        if self.softcap <= 0 or self.rope_base <= 1 or self.mlp_ratio <= 0:
            raise ValueError("ModelConfig: softcap and mlp_ratio must be positive, rope_base above 1")
