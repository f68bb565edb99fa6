"""The contest's baseline GPT: U-net skips, residual mixing, grouped-query attention, relu^2 MLP, soft-capped logits.

In formulas (n is RMSNorm without weight, x0 = n(embedding)):

    block:  x <- m0*x + m1*x0;  x <- x + a*Attention(n(x));  x <- x + b*W2 relu(W1 n(x))^2
    U-net:  blocks of the first half push their output; block i of the second half first adds w_i * (last pushed)
    head:   z = W_out n(x);  logits = c*tanh(z/c)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.kit.attention import causal_attention, rotary_tables, rotate
from harness.kit.config import ModelConfig
from harness.kit.loss import softcap_cross_entropy


def rms_norm(x: Tensor) -> Tensor:
    """Divide the last axis by its root mean square (no weight; epsilon is the dtype's machine epsilon)."""
    return F.rms_norm(x, (x.size(-1),))


class Attention(nn.Module):
    """Causal self-attention with normalised, gained queries and normalised keys."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.width = cfg.heads, cfg.kv_heads, cfg.dim // cfg.heads
        self.query = nn.Linear(cfg.dim, cfg.dim, bias=False)
        self.key = nn.Linear(cfg.dim, cfg.kv_heads * self.width, bias=False)
        self.value = nn.Linear(cfg.dim, cfg.kv_heads * self.width, bias=False)
        self.proj = nn.Linear(cfg.dim, cfg.dim, bias=False)
        self.q_gain = nn.Parameter(torch.full((cfg.heads,), cfg.qk_gain))
        nn.init.zeros_(self.proj.weight)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Map float [B, L, D] to float [B, L, D]; the tables come from `rotary_tables`."""
        q = self.query(x).unflatten(-1, (self.heads, self.width))
        k = self.key(x).unflatten(-1, (self.kv_heads, self.width))
        v = self.value(x).unflatten(-1, (self.kv_heads, self.width))
        q = rotate(rms_norm(q), cos, sin) * self.q_gain.to(q.dtype)[:, None]
        k = rotate(rms_norm(k), cos, sin)
        out: Tensor = self.proj(causal_attention(q, k, v).flatten(-2))
        return out


class MLP(nn.Module):
    """Two linear layers around relu^2."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        hidden = int(cfg.mlp_ratio * cfg.dim)
        self.up = nn.Linear(cfg.dim, hidden, bias=False)
        self.proj = nn.Linear(hidden, cfg.dim, bias=False)
        nn.init.zeros_(self.proj.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map float [..., D] to float [..., D]."""
        out: Tensor = self.proj(self.up(x).relu().square())
        return out


class Block(nn.Module):
    """One layer: mix the stream with the embedding, then attention, then the MLP, each with a gain per channel."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.attn = Attention(cfg)
        self.mlp = MLP(cfg)
        self.attn_scale = nn.Parameter(torch.ones(cfg.dim))
        self.mlp_scale = nn.Parameter(torch.ones(cfg.dim))
        self.resid_mix = nn.Parameter(torch.stack((torch.ones(cfg.dim), torch.zeros(cfg.dim))))

    def forward(self, x: Tensor, x0: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Map the stream and the normalised embedding, both float [B, L, D], to float [B, L, D]."""
        mix = self.resid_mix.to(x.dtype)
        x = mix[0] * x + mix[1] * x0
        x = x + self.attn_scale.to(x.dtype) * self.attn(rms_norm(x), cos, sin)
        out: Tensor = x + self.mlp_scale.to(x.dtype) * self.mlp(rms_norm(x))
        return out


class GPT(nn.Module):
    """The baseline model. Strictly causal: row p depends on tokens 0..p only, so padding at the end is harmless.

    Initial weights come from torch's global generator: seed it first.
    """

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.vocab_size = cfg.vocab_size
        self.embedding = nn.Embedding(cfg.vocab_size, cfg.dim)
        nn.init.normal_(self.embedding.weight, std=cfg.emb_std)
        self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.layers))
        self.encoder_layers = cfg.layers // 2
        self.skip_weights = nn.Parameter(torch.ones(self.encoder_layers, cfg.dim))
        self.lm_head: nn.Linear | None = None
        if not cfg.tied:
            self.lm_head = nn.Linear(cfg.dim, cfg.vocab_size, bias=False)
            nn.init.zeros_(self.lm_head.weight)

    @property
    def head_weight(self) -> Tensor:
        """The output matrix, float32 [V, D]: the embedding's own when tied."""
        return self.embedding.weight if self.lm_head is None else self.lm_head.weight

    def body(self, inputs: Tensor) -> Tensor:
        """Hidden states before the final norm.

        Args:
            inputs: int64 [B, L], token ids.

        Returns:
            float [B, L, D].
        """
        cfg = self.cfg
        cos, sin = rotary_tables(inputs.size(1), cfg.dim // cfg.heads, cfg.rope_base, inputs.device)
        x = x0 = rms_norm(self.embedding(inputs))
        skips: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            if index < self.encoder_layers:
                x = block(x, x0, cos, sin)
                skips.append(x)
                continue
            if skips:
                x = x + self.skip_weights[index - self.encoder_layers].to(x.dtype) * skips.pop()
            x = block(x, x0, cos, sin)
        return x

    def hidden(self, inputs: Tensor) -> Tensor:
        """Hidden states after the final norm: int64 [B, L] -> float [B, L, D]."""
        return rms_norm(self.body(inputs))

    def pre_cap_logits(self, hidden: Tensor) -> Tensor:
        """Logits before the soft cap: float [..., D] (after the final norm) -> float32 [..., V]."""
        return F.linear(hidden, self.head_weight).float()

    def softcap(self, logits: Tensor) -> Tensor:
        """Bound logits smoothly to (-c, c): c * tanh(z / c), elementwise."""
        return self.cfg.softcap * torch.tanh(logits / self.cfg.softcap)

    def head(self, hidden: Tensor) -> Tensor:
        """Soft-capped logits: float [..., D] (after the final norm) -> float32 [..., V]."""
        return self.softcap(self.pre_cap_logits(hidden))

    def forward(self, inputs: Tensor) -> Tensor:
        """Soft-capped logits of the next token at every position: int64 [B, L] -> float32 [B, L, V]."""
        return self.head(self.hidden(inputs))

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean negative log-likelihood in nats.

        Args:
            inputs: int64 [B, L].
            targets: int64 [B, L], the token after each input.

        Returns:
            float32 scalar.
        """
        hidden = self.hidden(inputs).flatten(0, 1)
        if hidden.is_cuda:
            return F.cross_entropy(self.head(hidden), targets.flatten())
        return softcap_cross_entropy(hidden, self.head_weight, targets.flatten(), self.cfg.softcap)
