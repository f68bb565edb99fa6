"""One layer of the GPT: attention and MLP around a residual stream, in its serial and its parallel forms."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.kit.attention import Past, causal_attention, rotate, without_own_value
from harness.kit.config import ModelConfig
from harness.kit.fused import rms_norm, squared_relu


class Attention(nn.Module):
    """Causal self-attention with normalised, gained queries and normalised keys."""

    def __init__(self, cfg: ModelConfig, layer: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.width = cfg.heads, cfg.kv_heads, cfg.head_width
        self.exclusive = layer >= cfg.layers - cfg.xsa_last
        self.query = nn.Linear(cfg.dim, cfg.dim, bias=False)
        self.key = nn.Linear(cfg.dim, cfg.kv_heads * self.width, bias=False)
        self.value = nn.Linear(cfg.dim, cfg.kv_heads * self.width, bias=False)
        self.proj = nn.Linear(cfg.dim, cfg.dim, bias=False)
        self.q_gain = nn.Parameter(torch.full((cfg.heads,), cfg.qk_gain))
        nn.init.zeros_(self.proj.weight)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, extra: Tensor | None = None, past: Past | None = None
    ) -> Tensor:
        """Mix positions.

        Args:
            x: float [B, L, D].
            cos: rotary table of those positions, from `rotary_tables`; `sin` likewise.
            sin: see cos.
            extra: float [B, L, kv_heads * width], added to the values (see `parts.ValueEmbedding`).
            past: the positions before x, if there are any.

        Returns:
            float [B, L, D].
        """
        q = self.query(x).unflatten(-1, (self.heads, self.width))
        k = self.key(x).unflatten(-1, (self.kv_heads, self.width))
        v = self.value(x)
        if extra is not None:
            v = v + extra
        own = v = v.unflatten(-1, (self.kv_heads, self.width))
        q = rotate(rms_norm(q), cos, sin) * self.q_gain.to(q.dtype)[:, None]
        k = rotate(rms_norm(k), cos, sin)
        if past is not None:
            k, v = past.extend(k, v)
        y = causal_attention(q, k, v)
        if self.exclusive:
            y = without_own_value(y, own)
        out: Tensor = self.proj(y.flatten(-2))
        return out


class MLP(nn.Module):
    """Two linear layers around max(z, slope * z)^2; relu^2 where the slope is 0, as in the baseline."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        hidden = int(cfg.mlp_ratio * cfg.dim)
        self.slope = cfg.leaky_slope
        self.up = nn.Linear(cfg.dim, hidden, bias=False)
        self.proj = nn.Linear(hidden, cfg.dim, bias=False)
        nn.init.zeros_(self.proj.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map float [..., D] to float [..., D]."""
        hidden = self.up(x)
        hidden = F.leaky_relu(hidden, self.slope).square() if self.slope else squared_relu(hidden)
        out: Tensor = self.proj(hidden)
        return out


class Block(nn.Module):
    """One layer: mix the stream with the embedding, then attention, then the MLP, each with a gain per channel."""

    def __init__(self, cfg: ModelConfig, layer: int) -> None:
        super().__init__()
        self.joint = cfg.parallel == "joint" and layer >= cfg.parallel_from
        self.norm_scale = (layer + 1) ** -0.5 if cfg.ln_scale else 1.0
        self.attn = Attention(cfg, layer)
        self.mlp = MLP(cfg)
        self.attn_scale = nn.Parameter(torch.ones(cfg.dim))
        self.mlp_scale = nn.Parameter(torch.ones(cfg.dim))
        self.resid_mix = nn.Parameter(torch.stack((torch.ones(cfg.dim), torch.zeros(cfg.dim))))

    def forward(
        self,
        x: Tensor,
        x0: Tensor,
        cos: Tensor,
        sin: Tensor,
        extra: Tensor | None = None,
        past: Past | None = None,
    ) -> Tensor:
        """Map the stream and the normalised embedding, both float [B, L, D], to float [B, L, D].

        The other arguments are `Attention`'s.
        """
        x = self._mixed(x, x0)
        attended = x + self._attended(x, cos, sin, extra, past)
        return attended + self._expanded(x if self.joint else attended)

    def lanes(
        self,
        lanes: tuple[Tensor, Tensor],
        x0: Tensor,
        cos: Tensor,
        sin: Tensor,
        extra: Tensor | None = None,
        past: Past | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The two-lane form (#1334): attention reads and writes the first lane, the MLP the second.

        Only the first is mixed with the embedding. Shapes are those of `forward`, for each lane.
        """
        x = self._mixed(lanes[0], x0)
        return x + self._attended(x, cos, sin, extra, past), lanes[1] + self._expanded(lanes[1])

    def _mixed(self, x: Tensor, x0: Tensor) -> Tensor:
        mix = self.resid_mix.to(x.dtype)
        return mix[0] * x + mix[1] * x0

    def _attended(self, x: Tensor, cos: Tensor, sin: Tensor, extra: Tensor | None, past: Past | None) -> Tensor:
        out: Tensor = self.attn_scale.to(x.dtype) * self.attn(self._normed(x), cos, sin, extra, past)
        return out

    def _expanded(self, x: Tensor) -> Tensor:
        out: Tensor = self.mlp_scale.to(x.dtype) * self.mlp(self._normed(x))
        return out

    def _normed(self, x: Tensor) -> Tensor:
        return rms_norm(x) if self.norm_scale == 1 else rms_norm(x) * self.norm_scale
