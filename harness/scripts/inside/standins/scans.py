"""State-space layers whose kernels run on a card only (`mamba_ssm`, `causal_conv1d`), in plain torch, in float32.

Mamba 2 and 3 decay each head by one number a step, so that a chunk is a product of matrices and only chunks follow each
other; Mamba 1 goes token by token. What nobody here knows to be the same (several ranks of Mamba 3, text packed by
`seq_idx`, states that are carried from call to call) stops the run.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils import _pytree

from harness.scripts.inside.standins.uses import missing, module, used

_CHUNK = 64


def _refuse(name: str, **options: Any) -> None:
    asked = sorted(key for key, value in options.items() if value is not None and value is not False)
    if asked:
        missing(f"{name}({', '.join(asked)}=)", "this option has no stand-in")


def grouped(part: Tensor, size: int) -> Tensor:
    """The last dimension as groups of `size`: [..., n * size] as [..., n, size]."""
    return part.reshape(*part.shape[:-1], -1, size)


def causal_conv1d_fn(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, seq_idx: Any = None, initial_states: Any = None,
    return_final_states: bool = False, final_states_out: Any = None, activation: str | None = None,
) -> Tensor:  # fmt: skip
    """Each channel's own filter over [batch, channels, tokens], of what came before alone; weight [channels, width]."""
    used("causal_conv1d_fn")
    _refuse("causal_conv1d_fn", seq_idx=seq_idx, initial_states=initial_states,
            return_final_states=return_final_states, final_states_out=final_states_out)  # fmt: skip
    width = weight.shape[-1]
    out = F.conv1d(F.pad(x, (width - 1, 0)), weight[:, None].to(x.dtype), None if bias is None else bias.to(x.dtype),
                   groups=x.shape[1])  # fmt: skip
    return F.silu(out) if activation in ("silu", "swish") else out


def selective_scan_fn(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None, z: Tensor | None = None,
    delta_bias: Tensor | None = None, delta_softplus: bool = False, return_last_state: bool = False,
) -> Any:  # fmt: skip
    """Mamba 1: h = exp(dt A) h + dt B u, y = C h + D u, times silu(z); u [batch, channels, tokens], A [channels, N]."""
    used("selective_scan_fn")
    with torch.autocast("cpu", enabled=False):
        x, dt, a = u.float(), delta.float(), A.float()
        if delta_bias is not None:
            dt = dt + delta_bias.float()[:, None]
        dt = F.softplus(dt) if delta_softplus else dt

        def at(
            matrix: Tensor, t: int
        ) -> Tensor:  # [channels, N] fixed, [batch, N, tokens] or [batch, groups, N, tokens]
            if matrix.dim() == 2:
                return matrix.float()[None]
            now = matrix[..., t].float()
            return now[:, None] if now.dim() == 2 else now.repeat_interleave(x.shape[1] // now.shape[1], 1)

        state = x.new_zeros(*x.shape[:2], a.shape[1])
        out = []
        for t in range(x.shape[2]):
            step = dt[:, :, t, None]
            state = torch.exp(step * a) * state + step * at(B, t) * x[:, :, t, None]
            out.append((state * at(C, t)).sum(-1))
        y = torch.stack(out, 2)
        if D is not None:
            y = y + D.float()[:, None] * x
        if z is not None:
            y = y * F.silu(z.float())
    return (y.to(u.dtype), state) if return_last_state else y.to(u.dtype)


def decayed(
    read: Tensor, write: Tensor, value: Tensor, decay: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """A state that decays: h = exp(decay) h + write value', y = read' h, for all tokens.

    Args:
        read: float32 [batch, heads, tokens, N].
        write: likewise.
        value: float32 [batch, heads, tokens, P].
        decay: float32 [batch, heads, tokens], logarithms, at most 0.
        state: [batch, heads, N, P] before the first token; None for zeros.

    Returns:
        y, [batch, heads, tokens, P], and the last state.
    """
    state = value.new_zeros(*read.shape[:2], read.shape[-1], value.shape[-1]) if state is None else state
    out = []
    for q, k, v, a in zip(*(torch.split(part, _CHUNK, 2) for part in (read, write, value, decay)), strict=True):
        passed = a.cumsum(-1)
        between = (passed[..., :, None] - passed[..., None, :]).tril()
        inner = (q @ k.transpose(-1, -2)) * between.exp().tril()
        out.append(inner @ v + (q @ state) * passed.exp()[..., None])
        left = (passed[..., -1:] - passed).exp()[..., None]
        state = state * passed[..., -1, None, None].exp() + (k * left).transpose(-1, -2) @ v
    return torch.cat(out, 2), state


def _heads(part: Tensor, heads: int) -> Tensor:
    """[batch, tokens, groups, N] as float32 [batch, heads, tokens, N]."""
    return part.float().repeat_interleave(heads // part.shape[2], 2).transpose(1, 2)


def mamba_chunk_scan_combined(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk_size: int = 256, D: Tensor | None = None,
    z: Tensor | None = None, dt_bias: Tensor | None = None, initial_states: Tensor | None = None, seq_idx: Any = None,
    cu_seqlens: Any = None, dt_softplus: bool = False, dt_limit: tuple[float, float] = (0.0, math.inf),
    return_final_states: bool = False, **more: Any,
) -> Any:  # fmt: skip
    """Mamba 2: x [batch, tokens, heads, P], dt [batch, tokens, heads], A [heads], B, C [batch, tokens, groups, N]."""
    used("mamba_chunk_scan_combined")
    _refuse("mamba_chunk_scan_combined", seq_idx=seq_idx, cu_seqlens=cu_seqlens, **more)
    with torch.autocast("cpu", enabled=False):
        step = dt.float() if dt_bias is None else dt.float() + dt_bias.float()
        step = (F.softplus(step) if dt_softplus else step).clamp(*dt_limit).transpose(1, 2)  # [batch, heads, tokens]
        value, heads = x.float().transpose(1, 2), x.shape[2]
        before = None if initial_states is None else initial_states.float().transpose(-1, -2)
        y, last = decayed(
            _heads(C, heads), _heads(B, heads), value * step[..., None], step * A.float()[:, None], before
        )
        if D is not None:
            y = y + (D.float()[:, None] if D.dim() == 2 else D.float()[:, None, None]) * value
        y = y.transpose(1, 2)
        if z is not None:
            y = y * F.silu(z.float())
    return (y.to(x.dtype), last.transpose(-1, -2)) if return_final_states else y.to(x.dtype)


def _turned(part: Tensor, angle: Tensor) -> Tensor:
    """Pairs of neighbouring entries turned by an angle each; what has no angle stays."""
    more = (0, part.shape[-1] // 2 - angle.shape[-1])
    cos, sin = F.pad(angle.cos(), more, value=1.0), F.pad(angle.sin(), more)
    one, two = grouped(part, 2).unbind(-1)
    return torch.stack((one * cos - two * sin, one * sin + two * cos), -1).flatten(-2)


def mamba3_siso_combined(
    Q: Tensor, K: Tensor, V: Tensor, ADT: Tensor, DT: Tensor, Trap: Tensor, Q_bias: Tensor, K_bias: Tensor,
    Angles: Tensor, D: Tensor | None = None, Z: Tensor | None = None, Input_States: Any = None, chunk_size: int = 64,
    return_final_states: bool = False, cu_seqlens: Any = None,
) -> Any:  # fmt: skip
    """Mamba 3 with one input and output a head: what is written is a trapezoid of this token and the one before.

    h = a h + (1 - t) dt a k' v' + t dt k v with a = exp(ADT), t = sigmoid(Trap) and k', v' of the token before; queries
    and keys are turned by the sum of pi tanh(Angles) dt so far. Q, K [batch, tokens, groups, N], V [batch, tokens,
    heads, P], ADT, DT and Trap [batch, heads, tokens].
    """
    used("mamba3_siso_combined")
    _refuse("mamba3_siso_combined", cu_seqlens=cu_seqlens)
    heads = V.shape[2]
    with torch.autocast("cpu", enabled=False):
        value, dt, decay, mix = V.float().transpose(1, 2), DT.float(), ADT.float(), Trap.float().sigmoid()
        turn = (Angles.float().tanh() * math.pi).transpose(1, 2) * dt[..., None]
        turn = turn.cumsum(2) if Input_States is None else turn.cumsum(2) + Input_States[0].float()[:, :, None]
        read = _turned(_heads(Q, heads) + Q_bias.float()[:, None], turn)
        write = _turned(_heads(K, heads) + K_bias.float()[:, None], turn)
        state, key, val = None, torch.zeros_like(write[:, :, :1]), torch.zeros_like(value[:, :, :1])
        if Input_States is not None:
            state, key, val = (part.float() for part in Input_States[1:])
            state, key, val = state.transpose(-1, -2), key[:, :, None], val[:, :, None]
        # The part of the token before decays with this token: a write of its own, of the keys and values one back.
        early = ((1 - mix) * dt)[..., None] * decay.exp()[..., None]
        keys, values = torch.cat([key, write[:, :, :-1]], 2), torch.cat([val, value[:, :, :-1]], 2)
        y, last = decayed(read, write, value * (mix * dt)[..., None], decay, state)
        other, beside = decayed(read, keys, values * early, decay)
        y, last = y + other, last + beside
        if D is not None:
            y = y + D.float()[:, None, None] * value
        y = y.transpose(1, 2)
        if Z is not None:
            y = y * F.silu(Z.float())
        ends = (turn[:, :, -1] % (2 * math.pi), last.transpose(-1, -2), write[:, :, -1], value[:, :, -1])
    return (y.to(V.dtype), *ends) if return_final_states else y.to(V.dtype)


class RMSNorm(nn.Module):
    """RMS norm with a gate: x silu(z) normed, or x normed times silu(z); in groups of `group_size`."""

    def __init__(self, hidden_size: int, eps: float = 1e-5, group_size: int | None = None,
                 norm_before_gate: bool = True, device: Any = None, dtype: Any = None) -> None:  # fmt: skip
        super().__init__()
        self.eps, self.group_size, self.norm_before_gate = eps, group_size or hidden_size, norm_before_gate
        self.weight = nn.Parameter(torch.ones(hidden_size, dtype=dtype))
        self.register_parameter("bias", None)

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """Of the last dimension."""
        y = x.float() if z is None or self.norm_before_gate else x.float() * F.silu(z.float())
        groups = grouped(y, self.group_size)
        out: Tensor = (groups * torch.rsqrt(groups.square().mean(-1, keepdim=True) + self.eps)).flatten(-2)
        out = out * self.weight.float()
        return (out if z is None or not self.norm_before_gate else out * F.silu(z.float())).to(x.dtype)


def steps(heads: int, low: float, high: float, least: float) -> nn.Parameter:
    """Biases whose softplus is spread between `low` and `high` on a logarithmic scale."""
    dt = torch.exp(torch.rand(heads) * (math.log(high) - math.log(low)) + math.log(low)).clamp(min=least)
    return nn.Parameter(dt + torch.log(-torch.expm1(-dt)))


class Mamba(nn.Module):
    """Mamba 1: a gate, a short convolution, a selective scan."""

    def __init__(
        self, d_model: int, d_state: int = 16, d_conv: int = 4, expand: int = 2, dt_rank: Any = "auto",
        dt_min: float = 0.001, dt_max: float = 0.1, dt_init: str = "random", dt_scale: float = 1.0,
        dt_init_floor: float = 1e-4, conv_bias: bool = True, bias: bool = False, use_fast_path: bool = True,
        layer_idx: int | None = None, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.d_model, self.d_state, self.d_conv, self.layer_idx = d_model, d_state, d_conv, layer_idx
        self.d_inner = int(expand * d_model)
        self.dt_rank = math.ceil(d_model / 16) if dt_rank == "auto" else int(dt_rank)
        self.in_proj = nn.Linear(d_model, 2 * self.d_inner, bias=bias)
        self.conv1d = nn.Conv1d(self.d_inner, self.d_inner, d_conv, groups=self.d_inner, padding=d_conv - 1,
                                bias=conv_bias)  # fmt: skip
        self.x_proj = nn.Linear(self.d_inner, self.dt_rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, self.d_inner)
        self.dt_proj.bias = steps(self.d_inner, dt_min, dt_max, dt_init_floor)
        self.A_log = nn.Parameter(torch.arange(1, d_state + 1).float().log().repeat(self.d_inner, 1))
        self.D = nn.Parameter(torch.ones(self.d_inner))
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=bias)

    def forward(self, hidden_states: Tensor, inference_params: Any = None) -> Tensor:
        """[batch, tokens, d_model]."""
        used("Mamba")
        _refuse("Mamba", inference_params=inference_params)
        x, z = self.in_proj(hidden_states).transpose(1, 2).chunk(2, 1)
        x = causal_conv1d_fn(x, self.conv1d.weight[:, 0], self.conv1d.bias, activation="silu")
        dt, b, c = self.x_proj(x.transpose(1, 2)).split([self.dt_rank, self.d_state, self.d_state], -1)
        dt = (dt @ self.dt_proj.weight.to(dt.dtype).t()).transpose(1, 2)
        y = selective_scan_fn(x, dt, -torch.exp(self.A_log.float()), b.transpose(1, 2), c.transpose(1, 2), self.D, z,
                              self.dt_proj.bias, delta_softplus=True)  # fmt: skip
        out: Tensor = self.out_proj(y.transpose(1, 2))
        return out


class Mamba2(nn.Module):
    """Mamba 2: one projection to gate, values, B, C and steps; a short convolution; the scan; a gated norm."""

    def __init__(
        self, d_model: int, d_state: int = 128, d_conv: int = 4, conv_init: float | None = None, expand: int = 2,
        headdim: int = 64, d_ssm: int | None = None, ngroups: int = 1, A_init_range: tuple[float, float] = (1, 16),
        D_has_hdim: bool = False, rmsnorm: bool = True, norm_before_gate: bool = False, dt_min: float = 0.001,
        dt_max: float = 0.1, dt_init_floor: float = 1e-4, dt_limit: tuple[float, float] = (0.0, math.inf),
        bias: bool = False, conv_bias: bool = True, chunk_size: int = 256, use_mem_eff_path: bool = True,
        layer_idx: int | None = None, process_group: Any = None, sequence_parallel: bool = True, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        _refuse("Mamba2", process_group=process_group)
        self.d_model, self.d_state, self.d_conv, self.expand = d_model, d_state, d_conv, expand
        self.d_inner = expand * d_model
        self.d_ssm = self.d_inner if d_ssm is None else d_ssm
        self.headdim, self.ngroups, self.rmsnorm, self.dt_limit = headdim, ngroups, rmsnorm, dt_limit
        self.D_has_hdim, self.chunk_size, self.layer_idx, self.activation = D_has_hdim, chunk_size, layer_idx, "silu"
        self.norm_before_gate, self.use_mem_eff_path = norm_before_gate, use_mem_eff_path
        if self.d_ssm % headdim:
            raise ValueError(f"{self.d_ssm} channels are no multiple of headdim {headdim}")
        self.nheads = self.d_ssm // headdim
        mixed = self.d_ssm + 2 * ngroups * d_state
        self.in_proj = nn.Linear(d_model, 2 * self.d_inner + 2 * ngroups * d_state + self.nheads, bias=bias)
        self.conv1d = nn.Conv1d(mixed, mixed, d_conv, groups=mixed, padding=d_conv - 1, bias=conv_bias)
        if conv_init is not None:
            nn.init.uniform_(self.conv1d.weight, -conv_init, conv_init)
        self.act = nn.SiLU()
        self.dt_bias = steps(self.nheads, dt_min, dt_max, dt_init_floor)
        self.A_log = nn.Parameter(torch.empty(self.nheads).uniform_(*A_init_range).log())
        self.D = nn.Parameter(torch.ones(self.d_ssm if D_has_hdim else self.nheads))
        if rmsnorm:
            self.norm = RMSNorm(self.d_ssm, norm_before_gate=norm_before_gate, group_size=self.d_ssm // ngroups)
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=bias)

    def forward(self, u: Tensor, seqlen: Any = None, seq_idx: Any = None, cu_seqlens: Any = None,
                inference_params: Any = None) -> Tensor:  # fmt: skip
        """[batch, tokens, d_model]."""
        used("Mamba2")
        _refuse("Mamba2", seqlen=seqlen, seq_idx=seq_idx, cu_seqlens=cu_seqlens, inference_params=inference_params)
        whole = self.in_proj(u)
        state, rest = self.ngroups * self.d_state, self.d_inner - self.d_ssm
        gate, plain, z, mixed, dt = whole.split([rest, rest, self.d_ssm, self.d_ssm + 2 * state, self.nheads], -1)
        mixed = causal_conv1d_fn(mixed.transpose(1, 2), self.conv1d.weight[:, 0], self.conv1d.bias, activation="silu")
        x, b, c = torch.split(mixed.transpose(1, 2), [self.d_ssm, state, state], -1)
        y = mamba_chunk_scan_combined(
            grouped(x, self.headdim), dt, -torch.exp(self.A_log.float()),
            grouped(b, self.d_state), grouped(c, self.d_state),
            D=self.D.view(self.nheads, -1) if self.D_has_hdim else self.D,
            z=None if self.rmsnorm else grouped(z, self.headdim), dt_bias=self.dt_bias,
            dt_softplus=True, dt_limit=self.dt_limit,
        ).flatten(-2)  # fmt: skip
        y = self.norm(y, z) if self.rmsnorm else y
        out: Tensor = self.out_proj(torch.cat([F.silu(gate) * plain, y], -1) if rest else y)
        return out


class Mamba3(nn.Module):
    """Mamba 3, one input and output a head."""

    def __init__(
        self, d_model: int, d_state: int = 128, expand: int = 2, headdim: int = 64, ngroups: int = 1,
        rope_fraction: float = 0.5, dt_min: float = 0.001, dt_max: float = 0.1, dt_init_floor: float = 1e-4,
        A_floor: float = 1e-4, is_outproj_norm: bool = False, is_mimo: bool = False, mimo_rank: int = 4,
        fuse_pregate_headwise_norm: bool = True, chunk_size: int = 64, dropout: float = 0.0,
        layer_idx: int | None = None, n_layer: int | None = None, device: Any = None, dtype: Any = None, **more: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        _refuse("Mamba3", is_mimo=is_mimo)
        self.d_model, self.d_state, self.expand, self.headdim = d_model, d_state, expand, headdim
        self.chunk_size, self.layer_idx, self.A_floor = chunk_size, layer_idx, A_floor
        self.is_outproj_norm, self.is_mimo, self.mimo_rank, self.num_bc_heads = is_outproj_norm, False, 1, ngroups
        self.d_inner = int(expand * d_model)
        self.nheads = self.d_inner // headdim
        self.split_tensor_size = int(d_state * rope_fraction) // 2 * 2
        self.num_rope_angles = self.split_tensor_size // 2
        self._parts = [self.d_inner, self.d_inner, d_state * ngroups, d_state * ngroups, *3 * [self.nheads],
                       self.num_rope_angles]  # fmt: skip
        self.in_proj = nn.Linear(d_model, sum(self._parts), bias=False)
        self.dt_bias = steps(self.nheads, dt_min, dt_max, dt_init_floor)
        self.B_bias = nn.Parameter(torch.ones(self.nheads, 1, d_state))
        self.C_bias = nn.Parameter(torch.ones(self.nheads, 1, d_state))
        self.B_norm, self.C_norm = RMSNorm(d_state), RMSNorm(d_state)
        self.D = nn.Parameter(torch.ones(self.nheads))
        if is_outproj_norm:
            self.norm = RMSNorm(self.d_inner, norm_before_gate=True, group_size=headdim)
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=False)

    def forward(self, u: Tensor, seq_idx: Any = None, cu_seqlens: Any = None, inference_params: Any = None) -> Tensor:
        """[batch, tokens, d_model]."""
        used("Mamba3")
        _refuse("Mamba3", seq_idx=seq_idx, cu_seqlens=cu_seqlens, inference_params=inference_params)
        z, x, b, c, dt, a, mix, angle = self.in_proj(u).split(self._parts, -1)
        step = F.softplus(dt + self.dt_bias)
        # 1 + x above zero and 1 / (1 - x) below: positive, and heavy in both tails.
        decay = -(a.float().clamp_min(0) + torch.reciprocal(1 - a.float().clamp_max(0)))
        decay = decay.clamp(max=-self.A_floor) * step
        y = mamba3_siso_combined(
            self.C_norm(grouped(c, self.d_state)), self.B_norm(grouped(b, self.d_state)), grouped(x, self.headdim),
            decay.transpose(1, 2), step.transpose(1, 2), mix.transpose(1, 2), self.C_bias[:, 0], self.B_bias[:, 0],
            angle[:, :, None].expand(-1, -1, self.nheads, -1), self.D,
            None if self.is_outproj_norm else grouped(z, self.headdim),
        ).flatten(-2)  # fmt: skip
        out: Tensor = self.out_proj((self.norm(y, z) if self.is_outproj_norm else y).to(x.dtype))
        return out


def associative_scan(combine_fn: Callable[..., Any], xs: Any, dim: int = 0, reverse: bool = False, **_: Any) -> Any:
    """`torch.associative_scan`, which takes functions of single numbers on a card only: one after the other."""
    used("associative_scan")
    leaves, spec = _pytree.tree_flatten(xs)
    order = range(leaves[0].shape[dim])
    steps = [_pytree.tree_unflatten([leaf.select(dim, t) for leaf in leaves], spec) for t in order]
    steps = steps[::-1] if reverse else steps
    done = [steps[0]]
    for step in steps[1:]:
        done.append(combine_fn(done[-1], step))
    columns = zip(*(_pytree.tree_flatten(one)[0] for one in (done[::-1] if reverse else done)), strict=True)
    return _pytree.tree_unflatten([torch.stack(column, dim) for column in columns], spec)


def _no_triton(name: str) -> Callable[..., Any]:
    return lambda *_, **__: missing(name, "its kernel runs on a card only")


def install() -> None:
    """Make the modules importable, whether or not the real ones are installed: those need a card."""
    for compiled in ("selective_scan_cuda", "causal_conv1d_cuda"):  # imported to see whether kernels are there
        module(compiled)
    module("causal_conv1d", causal_conv1d_fn=causal_conv1d_fn, causal_conv1d_update=_no_triton("causal_conv1d_update"))
    layers = {"Mamba": Mamba, "Mamba2": Mamba2, "Mamba3": Mamba3}
    module("mamba_ssm", __version__="2.3.0", **layers, selective_scan_fn=selective_scan_fn)
    module("mamba_ssm.modules")
    module("mamba_ssm.modules.mamba_simple", Mamba=Mamba)
    module("mamba_ssm.modules.mamba2", Mamba2=Mamba2)
    module("mamba_ssm.modules.mamba3", Mamba3=Mamba3)
    module("mamba_ssm.ops")
    module("mamba_ssm.ops.selective_scan_interface", selective_scan_fn=selective_scan_fn,
           selective_scan_ref=selective_scan_fn, mamba_inner_fn=_no_triton("mamba_inner_fn"))  # fmt: skip
    module("mamba_ssm.ops.triton")
    module("mamba_ssm.ops.triton.ssd_combined", mamba_chunk_scan_combined=mamba_chunk_scan_combined,
           mamba_split_conv1d_scan_combined=_no_triton("mamba_split_conv1d_scan_combined"))  # fmt: skip
    module("mamba_ssm.ops.triton.layernorm_gated", RMSNorm=RMSNorm)
    module("mamba_ssm.ops.triton.mamba3")
    module("mamba_ssm.ops.triton.mamba3.mamba3_siso_combined", mamba3_siso_combined=mamba3_siso_combined)
    library: Any = torch
    library.associative_scan = associative_scan
    operators: Any = importlib.import_module("torch._higher_order_ops.associative_scan")
    operators.associative_scan = associative_scan
