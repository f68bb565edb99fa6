"""Parts of a GPT beside its blocks: what is added to embeddings and to values. Each reads tokens at or before its own.

Tables are `nn.Embedding`, so that the trainer gives them the embedding's learning rate; scales and gates have names
that `config.is_control` knows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.kit.config import ModelConfig

#: How many tokens before its own an embedding may depend on: smearing reaches one back, and so does a bigram's hash.
REACH = 2


class BigramHash(nn.Module):
    """An embedding of the current and the previous token, hashed together (#162): scale * W e[hash].

    The table starts at zero and W orthogonal, so the part is silent at first but learns.
    """

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(cfg.bigram_buckets, cfg.bigram_dim)
        nn.init.zeros_(self.table.weight)
        self.proj = projection(cfg.bigram_dim, cfg.dim)
        self.scale = nn.Parameter(torch.tensor(0.05))

    def buckets(self, inputs: Tensor) -> Tensor:
        """Rows of the table: (36313 x_t XOR 27191 x_{t-1}) mod (rows - 1), and the last row for the first position.

        Args:
            inputs: int64 [B, L], token ids.

        Returns:
            int64 [B, L].
        """
        last = self.table.num_embeddings - 1
        hashed = torch.bitwise_xor(36_313 * inputs[:, 1:], 27_191 * inputs[:, :-1]) % last
        return F.pad(hashed, (1, 0), value=last)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map int64 [B, L] to float [B, L, D], to be added to the embedding."""
        rows: Tensor = self.proj(self.table(self.buckets(inputs)))
        return rows * self.scale.to(rows.dtype)


class ChannelSmear(nn.Module):
    """SmearGate with a gate per channel (#65): (1 - g) x_t + g x_{t-1}, g = sigmoid(w), w from 0; x_{-1} is zero."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.bos = cfg.smear_bos
        self.gate = nn.Parameter(torch.zeros(cfg.dim))

    def forward(self, x: Tensor, inputs: Tensor) -> Tensor:
        """Map embeddings float [B, L, D] of tokens int64 [B, L] to float [B, L, D]."""
        gate = torch.sigmoid(self.gate.to(x.dtype)).expand_as(x)
        if self.bos is not None:
            gate = gate.masked_fill((inputs == self.bos)[..., None], 0.0)
        return (1 - gate) * x + gate * F.pad(x[:, :-1], (0, 0, 1, 0))


class TokenSmear(nn.Module):
    """SmearGate whose gate reads the token (#1667): x_t + s sigmoid(w x_t[:n]) x_{t-1}, s and w from 0."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.bos = cfg.smear_bos
        self.weight = nn.Parameter(torch.zeros(cfg.smear_width))
        self.strength = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, inputs: Tensor) -> Tensor:
        """Map embeddings float [B, L, D] of tokens int64 [B, L] to float [B, L, D]."""
        gate = torch.sigmoid(x[..., : len(self.weight)] @ self.weight.to(x.dtype)) * self.strength.to(x.dtype)
        if self.bos is not None:
            gate = gate.masked_fill(inputs == self.bos, 0.0)
        return x + gate[..., None] * F.pad(x[:, :-1], (0, 0, 1, 0))


class ValueEmbedding(nn.Module):
    """One table of token embeddings that some layers add to their values (#374): r_i * 0.1 * W e[x_t].

    The 0.1 and the layers' factors r_i (from 1) are trained; W starts orthogonal, the table with deviation 0.01.
    """

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.layers = cfg.ve_layers
        self.table = nn.Embedding(cfg.vocab_size, cfg.ve_dim)
        nn.init.normal_(self.table.weight, std=0.01)
        self.proj = projection(cfg.ve_dim, cfg.kv_heads * cfg.head_width)
        self.scale = nn.Parameter(torch.tensor(0.1))
        self.layer_scales = nn.Parameter(torch.ones(len(cfg.ve_layers)))

    def forward(self, inputs: Tensor) -> dict[int, Tensor]:
        """What each chosen layer adds to its values: int64 [B, L] -> float [B, L, kv_heads * width] by layer."""
        rows: Tensor = self.proj(self.table(inputs))
        rows = rows * self.scale.to(rows.dtype)
        factors = self.layer_scales.to(rows.dtype)
        return {layer: rows * factors[index] for index, layer in enumerate(self.layers)}


def projection(width: int, dim: int) -> nn.Module:
    """An orthogonal matrix from a table's width to the model's; nothing where they are the same."""
    if width == dim:
        return nn.Identity()
    linear = nn.Linear(width, dim, bias=False)
    nn.init.orthogonal_(linear.weight)
    return linear
