"""The shape of the kit's GPT. The defaults are the contest's baseline; every other part is a switch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Smear = Literal["off", "channel", "token"]
Parallel = Literal["off", "joint", "lanes"]


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the GPT: what every model has, then parts that are off by default.

    Layers count from 0. A switch names the pull request that brought its part.

    Attributes:
        vocab_size: number of token ids.
        layers: number of blocks; the first half pushes U-net skips, the second half pops them.
        dim: width of the residual stream.
        heads: query heads; `dim / heads` is the head width and must be even.
        kv_heads: key/value heads, each shared by `heads / kv_heads` query heads.
        mlp_ratio: width of the MLP's hidden layer over `dim`.
        rope_base: base of the rotary frequencies.
        softcap: logits are `softcap * tanh(z / softcap)`.
        qk_gain: initial gain of every head's normalised queries (4 in #1125, 5 in #1217, 5.25 in #1493).
        tied: whether the head uses the embedding's weight.
        emb_std: standard deviation of the initial embedding.
        orthogonal_init: whether matrices that do not start at zero start orthogonal (#1019).
        leaky_slope: slope of the MLP's activation below zero, before it is squared; 0.5 in #493.
        ln_scale: whether layer i multiplies its normalised inputs by 1/sqrt(i + 1) (#1019).
        rope_dims: dimensions of a head that are rotated, 0 for all; 16 in #1019.
        rope_train_length: sequences longer than this stretch the rotary base (see `attention.stretched_base`), 0 for
            never. The rows of such a model depend on how long its input is, padding included.
        xsa_last: how many of the last layers take a token's own value out of what its heads read (#265); `layers`
            for all of them.
        skip_gates: whether a gate mixes the skip with the stream (#1172) instead of adding it.
        smear: "channel" mixes in the previous token's embedding with one gate a channel (#65), "token" adds it with a
            gate that reads the token (#1667).
        smear_bos: the token id whose own embedding takes nothing from the token before it, i.e. BOS (#1855); None
            lets documents touch.
        smear_width: how many channels the gate of "token" reads.
        bigram_buckets: rows of the table of hashed bigrams (#162), 0 for no table; 3072 in #1019.
        bigram_dim: width of that table; 112 in #1019.
        ve_layers: layers whose values get an embedding of the token added (#374); (9, 10) in #1019.
        ve_dim: width of the one table that they share.
        recur_layers: layers that run again, in this order, after the last of them; (4, 5) in #1334.
        recur_times: how often they run again; 1 in #1334, 2 in #1394.
        recur_from_step: training runs them again from this step on; 3000 in #1334. Evaluation always does.
        recur_from_fraction: and from this fraction of the training on; 0.5 in #1394.
        recur_skips: whether there is a skip weight for each block that is run in the first half (#1394), or only for
            each that exists (#1334).
        parallel: "joint" feeds attention and MLP the same input and adds both (#1412); "lanes" splits the stream into
            one of attention and one of MLPs, which meet after the last block (#1334).
        parallel_from: the first layer of that. Lanes start in the second half at the earliest.
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

    orthogonal_init: bool = False
    leaky_slope: float = 0.0
    ln_scale: bool = False
    rope_dims: int = 0
    rope_train_length: int = 0
    xsa_last: int = 0
    skip_gates: bool = False
    smear: Smear = "off"
    smear_bos: int | None = None
    smear_width: int = 12
    bigram_buckets: int = 0
    bigram_dim: int = 128
    ve_layers: tuple[int, ...] = ()
    ve_dim: int = 128
    recur_layers: tuple[int, ...] = ()
    recur_times: int = 1
    recur_from_step: int = 0
    recur_from_fraction: float = 0.0
    recur_skips: bool = False
    parallel: Parallel = "off"
    parallel_from: int = 0

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
        self._check_parts()
        self._check_order()

    @property
    def head_width(self) -> int:
        """Dimensions of a head."""
        return self.dim // self.heads

    @property
    def rotated(self) -> int:
        """Dimensions of a head that are rotated."""
        return self.rope_dims or self.head_width

    def order(self, recurring: bool = True) -> tuple[int, ...]:
        """The layers in the order in which they run, with or without the repeated ones."""
        layers = tuple(range(self.layers))
        if not recurring or not self.recur_layers:
            return layers
        after = self.recur_layers[-1] + 1
        return layers[:after] + self.recur_layers * self.recur_times + layers[after:]

    def _check_parts(self) -> None:
        if not 0 <= self.leaky_slope <= 1:
            raise ValueError(f"ModelConfig: leaky_slope must lie between 0 and 1, not {self.leaky_slope}")
        if self.rope_dims % 2 or not 0 <= self.rope_dims <= self.head_width:
            raise ValueError(f"ModelConfig: rope_dims {self.rope_dims} must be even and at most {self.head_width}")
        if self.rope_train_length < 0 or (self.rope_train_length and self.rotated < 4):
            raise ValueError("ModelConfig: rope_train_length must not be negative, and needs 4 rotated dimensions")
        if not 0 <= self.xsa_last <= self.layers:
            raise ValueError(f"ModelConfig: xsa_last {self.xsa_last} must lie between 0 and layers ({self.layers})")
        if self.smear not in ("off", "channel", "token"):
            raise ValueError(f'ModelConfig: smear must be "off", "channel" or "token", not {self.smear!r}')
        if self.smear_bos is not None and (self.smear == "off" or not 0 <= self.smear_bos < self.vocab_size):
            raise ValueError(f"ModelConfig: smear_bos {self.smear_bos} must be a token id, and needs smear")
        if not 1 <= self.smear_width <= self.dim and self.smear == "token":
            raise ValueError(f"ModelConfig: smear_width {self.smear_width} must lie between 1 and dim ({self.dim})")
        if self.bigram_buckets < 0 or self.bigram_buckets == 1 or self.bigram_dim < 1 or self.ve_dim < 1:
            raise ValueError("ModelConfig: bigram_buckets must be 0 or at least 2, bigram_dim and ve_dim at least 1")
        self._check_layers("ve_layers", self.ve_layers)

    def _check_order(self) -> None:
        self._check_layers("recur_layers", self.recur_layers)
        if self.recur_times < 1 or self.recur_from_step < 0 or not 0 <= self.recur_from_fraction < 1:
            raise ValueError(
                "ModelConfig: recur_times must be at least 1, recur_from_step not negative, "
                "recur_from_fraction in [0, 1)"
            )
        if self.parallel not in ("off", "joint", "lanes"):
            raise ValueError(f'ModelConfig: parallel must be "off", "joint" or "lanes", not {self.parallel!r}')
        if not 0 <= self.parallel_from < self.layers:
            raise ValueError(f"ModelConfig: parallel_from {self.parallel_from} must be a layer (0..{self.layers - 1})")

    def _check_layers(self, name: str, chosen: tuple[int, ...]) -> None:
        if list(chosen) != sorted(set(chosen)) or not set(chosen) <= set(range(self.layers)):
            raise ValueError(f"ModelConfig: {name} must be layers (0..{self.layers - 1}) in rising order, not {chosen}")
