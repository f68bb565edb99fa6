"""flash-linear-attention (`fla`): gated delta rules in plain torch, in float32, in chunks.

A chunk's writes depend on each other; that is one triangular system, so that only chunks follow each other. What nobody
here knows to be the same (several products of one token, RWKV, packed text, carried caches) stops the run.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.scripts.inside.standins import scans
from harness.scripts.inside.standins.uses import missing, module, used

_CHUNK = 64


def _rule(state: Tensor, *parts: Tensor) -> tuple[Tensor, Tensor]:
    """S = exp(decay) S, S += k (beta (v - S'k))', o = S'q; q, k, v, decay, beta are float32 [batch, heads, tokens]."""
    out = []
    for q, k, v, a, b in zip(*(torch.split(part, _CHUNK, 2) for part in parts), strict=True):
        passed = a.cumsum(-1)
        between = (passed[..., :, None] - passed[..., None, :]).tril().exp().tril()
        heavy = k * b[..., None]
        system = torch.eye(k.shape[2]) + ((heavy @ k.transpose(-1, -2)) * between).tril(-1)
        start = v * b[..., None] - (heavy * passed.exp()[..., None]) @ state
        written = torch.linalg.solve_triangular(system, start, upper=False, unitriangular=True)
        out.append((q * passed.exp()[..., None]) @ state + ((q @ k.transpose(-1, -2)) * between) @ written)
        left = (passed[..., -1:] - passed).exp()[..., None]
        state = state * passed[..., -1, None, None].exp() + (k * left).transpose(-1, -2) @ written
    return torch.cat(out, 2), state


def chunk_gated_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, scale: float | None = None,
    initial_state: Tensor | None = None, output_final_state: bool = False, use_qk_l2norm_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False, allow_neg_eigval: bool = False, state_v_first: bool = False,
    cu_seqlens: Any = None, use_gate_in_kernel: bool = False, A_log: Tensor | None = None,
    dt_bias: Tensor | None = None, head_first: bool = False, chunk_size: int = _CHUNK, **more: Any,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Q and k [batch, tokens, heads, K], v [batch, tokens, value heads, V], g and beta [batch, tokens, value heads]."""
    used("gated_delta_rule")
    asked = sorted(name for name, value in {**more, "cu_seqlens": cu_seqlens, "head_first": head_first}.items()
                   if value is not None and value is not False)  # fmt: skip
    if asked:
        missing(f"gated_delta_rule({', '.join(asked)}=)", "this option has no stand-in")
    heads = v.shape[2]
    with torch.autocast("cpu", enabled=False):
        read, write = (part.float().repeat_interleave(heads // part.shape[2], 2).transpose(1, 2) for part in (q, k))
        if use_qk_l2norm_in_kernel:
            read, write = (part * torch.rsqrt(part.square().sum(-1, keepdim=True) + 1e-6) for part in (read, write))
        value, decay, strength = v.float().transpose(1, 2), g.float().transpose(1, 2), beta.float().transpose(1, 2)
        if use_gate_in_kernel:
            assert A_log is not None
            shifted = decay if dt_bias is None else decay + dt_bias.float()[:, None]
            decay = -A_log.float().exp()[:, None] * F.softplus(shifted)
        if use_beta_sigmoid_in_kernel:
            strength = strength.sigmoid() * (2.0 if allow_neg_eigval else 1.0)
        state = value.new_zeros(*write.shape[:2], write.shape[-1], value.shape[-1])
        if initial_state is not None:
            state = initial_state.float().transpose(-1, -2) if state_v_first else initial_state.float()
        read = read * (q.shape[-1] ** -0.5 if scale is None else scale)
        o, state = _rule(state, read, write, value, decay, strength)
        state = state.transpose(-1, -2) if state_v_first else state
    return o.transpose(1, 2).to(v.dtype), state if output_final_state else None


def _naive(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, *args: Any, **more: Any) -> Any:
    """The recurrent reference has beta before g."""
    return chunk_gated_delta_rule(q, k, v, g, beta, *args, **more)


def _naive_chunk(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, chunk_size: int = _CHUNK, *args: Any, **more: Any
) -> Any:
    return chunk_gated_delta_rule(q, k, v, g, beta, *args, **more)


class RMSNorm(nn.Module):
    """RMS norm of the last dimension."""

    def __init__(self, hidden_size: int, elementwise_affine: bool = True, bias: bool = False, eps: float = 1e-5,
                 **_: Any) -> None:  # fmt: skip
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(hidden_size)) if elementwise_affine else None

    def forward(self, x: Tensor) -> Tensor:
        """[..., hidden_size]."""
        y = x.float() * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + self.eps)
        return (y if self.weight is None else y * self.weight.float()).to(x.dtype)


class FusedRMSNormGated(RMSNorm):
    """The same, times silu of a gate."""

    def forward(self, x: Tensor, g: Tensor | None = None, *_: Any) -> Tensor:
        """[..., hidden_size]."""
        y = super().forward(x)
        return y if g is None else (y.float() * F.silu(g.float())).to(x.dtype)


class ShortConvolution(nn.Conv1d):
    """Each channel's own filter over [batch, tokens, channels], of what came before alone; returns a cache, too."""

    def __init__(self, hidden_size: int, kernel_size: int, bias: bool = False, activation: str | None = "silu",
                 **_: Any) -> None:  # fmt: skip
        super().__init__(hidden_size, hidden_size, kernel_size, groups=hidden_size, padding=kernel_size - 1, bias=bias)
        self.hidden_size, self.activation = hidden_size, activation

    def forward(self, x: Tensor, *args: Any, **more: Any) -> Any:  # type: ignore[override]
        """[batch, tokens, channels]."""
        if args or any(value is not None and value is not False for value in more.values()):
            missing(f"ShortConvolution({', '.join(sorted(more))}=)", "this option has no stand-in")
        out = scans.causal_conv1d_fn(x.transpose(1, 2), self.weight[:, 0], self.bias, activation=self.activation)
        return out.transpose(1, 2), None


class GatedDeltaNet(nn.Module):
    """Projections, short convolutions, the gated delta rule, a gated norm; returns (output, None, cache)."""

    def __init__(
        self, hidden_size: int = 2048, expand_v: float = 2, head_dim: int = 256, num_heads: int = 6,
        num_v_heads: int | None = None, mode: str = "chunk", use_gate: bool = True, use_short_conv: bool = True,
        allow_neg_eigval: bool = False, conv_size: int = 4, conv_bias: bool = False, layer_idx: int | None = None,
        norm_eps: float = 1e-5, **_: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        self.mode, self.hidden_size, self.expand_v, self.layer_idx = mode, hidden_size, expand_v, layer_idx
        self.use_gate, self.use_short_conv, self.allow_neg_eigval = use_gate, use_short_conv, allow_neg_eigval
        self.head_dim = self.head_k_dim = head_dim
        self.num_heads, self.num_v_heads = num_heads, num_v_heads or num_heads
        self.head_v_dim = int(head_dim * expand_v)
        self.key_dim, self.value_dim = num_heads * head_dim, self.num_v_heads * self.head_v_dim
        sizes = {"q": self.key_dim, "k": self.key_dim, "v": self.value_dim}
        for name, size in sizes.items():
            self.add_module(f"{name}_proj", nn.Linear(hidden_size, size, bias=False))
        self.a_proj = nn.Linear(hidden_size, self.num_v_heads, bias=False)
        self.b_proj = nn.Linear(hidden_size, self.num_v_heads, bias=False)
        for name, size in sizes.items() if use_short_conv else ():
            self.add_module(f"{name}_conv1d", ShortConvolution(size, conv_size, conv_bias))
        self.A_log = nn.Parameter(torch.empty(self.num_v_heads).uniform_(0, 16).log())
        self.dt_bias = scans.steps(self.num_v_heads, 0.001, 0.1, 1e-4)
        self.o_norm = (FusedRMSNormGated if use_gate else RMSNorm)(self.head_v_dim, eps=norm_eps)
        if use_gate:
            self.g_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)

    def forward(
        self, hidden_states: Tensor, attention_mask: Any = None, past_key_values: Any = None, use_cache: Any = False,
        output_attentions: Any = False, **more: Any,
    ) -> tuple[Tensor, None, None]:  # fmt: skip
        """[batch, tokens, hidden_size]."""
        used("GatedDeltaNet")
        if (
            attention_mask is not None
            or past_key_values is not None
            or use_cache
            or any(value is not None for value in more.values())
        ):
            missing("GatedDeltaNet(attention_mask=, past_key_values=, cu_seqlens=)", "this option has no stand-in")
        parts = []
        for name, size in (("q", self.head_k_dim), ("k", self.head_k_dim), ("v", self.head_v_dim)):
            part = getattr(self, f"{name}_proj")(hidden_states)
            part = getattr(self, f"{name}_conv1d")(part)[0] if self.use_short_conv else F.silu(part)
            parts.append(scans.grouped(part, size))
        q, k, v = parts
        o, _ = chunk_gated_delta_rule(
            q, k, v, self.a_proj(hidden_states), self.b_proj(hidden_states), use_qk_l2norm_in_kernel=True,
            use_beta_sigmoid_in_kernel=True, allow_neg_eigval=self.allow_neg_eigval, use_gate_in_kernel=True,
            A_log=self.A_log, dt_bias=self.dt_bias,
        )  # fmt: skip
        gate = (scans.grouped(self.g_proj(hidden_states), self.head_v_dim),) if self.use_gate else ()
        return self.o_proj(self.o_norm(o, *gate).flatten(-2).to(hidden_states.dtype)), None, None


class Mamba2(scans.Mamba2):
    """Mamba 2 under this package's names; returns (output, None, cache)."""

    def __init__(
        self, num_heads: int | None = None, head_dim: int = 64, hidden_size: int = 2048, state_size: int = 128,
        expand: int = 2, n_groups: int = 1, conv_kernel: int = 4, use_conv_bias: bool = True, use_bias: bool = False,
        layer_idx: int | None = None, **more: Any,
    ) -> None:  # fmt: skip
        known = {name: more.pop(name) for name in ("conv_init", "A_init_range", "D_has_hdim", "rmsnorm", "dt_limit",
                 "norm_before_gate", "dt_min", "dt_max", "dt_init_floor", "chunk_size") if name in more}  # fmt: skip
        super().__init__(hidden_size, state_size, conv_kernel, expand=expand, headdim=head_dim, ngroups=n_groups,
                         conv_bias=use_conv_bias, bias=use_bias, layer_idx=layer_idx, **known)  # fmt: skip

    def forward(self, hidden_states: Tensor, *_: Any, **more: Any) -> Any:  # type: ignore[override]
        """[batch, tokens, hidden_size]."""
        return super().forward(hidden_states), None, more.get("past_key_values")


def _absent(name: str) -> type:
    def refuse(self: Any, *_: Any, **__: Any) -> None:
        missing(f"fla {name}", "its kernel runs on a card only, and its arithmetic has no stand-in")

    return type(name, (nn.Module,), {"__init__": refuse})


class _Package(types.ModuleType):
    """A module whose other names are classes that stop the run once they are used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _absent(name)


def _open(name: str, **members: Any) -> None:
    made = module(name, **members)
    made.__class__ = _Package
    sys.modules[name] = made


def install() -> None:
    """Make the modules importable, whether or not the real ones are installed: those need a card."""
    rules = {"chunk_gated_delta_rule": chunk_gated_delta_rule, "fused_recurrent_gated_delta_rule":
             chunk_gated_delta_rule}  # fmt: skip
    naive = {"naive_recurrent_gated_delta_rule": _naive, "naive_chunk_gated_delta_rule": _naive_chunk}
    modules = {"RMSNorm": RMSNorm, "FusedRMSNormGated": FusedRMSNormGated, "ShortConvolution": ShortConvolution}
    module("fla", __version__="0.4.0")
    _open("fla.layers", GatedDeltaNet=GatedDeltaNet, Mamba2=Mamba2)
    _open("fla.layers.gated_deltanet", GatedDeltaNet=GatedDeltaNet, **rules)
    _open("fla.layers.gated_deltaproduct")
    _open("fla.layers.mamba2", Mamba2=Mamba2)
    _open("fla.modules", **modules)
    _open("fla.modules.convolution", ShortConvolution=ShortConvolution)
    _open("fla.ops", **rules)
    _open("fla.ops.gated_delta_rule", **rules)
    _open("fla.ops.gated_delta_rule.chunk", **rules)
    _open("fla.ops.gated_delta_rule.naive", **naive)
    _open("fla.ops.gated_delta_product")
    _open("fla.ops.gated_delta_product.chunk")
    _open("fla.ops.gated_delta_product.naive")
