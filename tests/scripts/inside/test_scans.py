"""Stand-ins for scans: what a recurrence computes step by step, and nothing of what comes later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.scripts.inside.standins import deltas, scans
from harness.scripts.inside.standins.uses import NoStandIn

B, T, H, N, P = 2, 150, 3, 4, 6


def test_what_decays_is_the_recurrence() -> None:
    torch.manual_seed(0)
    read, write, value = torch.randn(B, H, T, N), torch.randn(B, H, T, N), torch.randn(B, H, T, P)
    decay = -torch.rand(B, H, T)
    state, out = torch.zeros(B, H, N, P), []
    for t in range(T):
        state = decay[..., t].exp()[..., None, None] * state + write[:, :, t, :, None] * value[:, :, t, None]
        out.append((read[:, :, t, :, None] * state).sum(-2))
    got, last = scans.decayed(read, write, value, decay)
    torch.testing.assert_close(got, torch.stack(out, 2), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(last, state, rtol=1e-3, atol=1e-4)


def test_mamba_2_is_mamba_1_with_one_decay_a_head() -> None:
    torch.manual_seed(0)
    x, dt, a = torch.randn(B, T, H, P), torch.rand(B, T, H), -torch.rand(H)
    b, c = torch.randn(B, T, 1, N), torch.randn(B, T, 1, N)
    one = scans.mamba_chunk_scan_combined(x, dt, a, b, c)
    other = scans.selective_scan_fn(
        x.flatten(2).transpose(1, 2), dt.repeat_interleave(P, 2).transpose(1, 2),
        a.repeat_interleave(P)[:, None].expand(-1, N), b[:, :, 0].transpose(1, 2), c[:, :, 0].transpose(1, 2),
    )  # fmt: skip
    torch.testing.assert_close(one.flatten(2), other.transpose(1, 2), rtol=1e-3, atol=1e-4)


def test_mamba_3_without_trapezoid_and_turns_is_mamba_2() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(B, T, H, N), torch.randn(B, T, H, N), torch.randn(B, T, H, P)
    dt, a = torch.rand(B, H, T), -torch.rand(H)
    none = torch.zeros(H, N)
    got = scans.mamba3_siso_combined(q, k, v, a[:, None] * dt, dt, torch.full((B, H, T), 1e3), none, none,
                                     torch.zeros(B, T, H, N // 2))  # fmt: skip
    want = scans.mamba_chunk_scan_combined(v, dt.transpose(1, 2), a, k, q)
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)


def test_the_gated_delta_rule_is_the_recurrence() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(B, T, H, N), F.normalize(torch.randn(B, T, H, N), dim=-1), torch.randn(B, T, H, P)
    g, beta = -torch.rand(B, T, H), torch.rand(B, T, H)
    state, out = torch.zeros(B, H, N, P), []
    for t in range(T):
        state = state * g[:, t].exp()[..., None, None]
        told = v[:, t] - (state * k[:, t, :, :, None]).sum(-2)
        state = state + k[:, t, :, :, None] * (beta[:, t, :, None] * told)[:, :, None]
        out.append((state * q[:, t, :, :, None]).sum(-2) * N**-0.5)
    got, _ = deltas.chunk_gated_delta_rule(q, k, v, g, beta)
    torch.testing.assert_close(got, torch.stack(out, 1), rtol=1e-3, atol=1e-4)


LAYERS: dict[str, Callable[[], Any]] = {
    "Mamba": lambda: scans.Mamba(32),
    "Mamba2": lambda: scans.Mamba2(32, d_state=8, headdim=16),
    "Mamba3": lambda: scans.Mamba3(32, d_state=8, headdim=16),
    "GatedDeltaNet": lambda: deltas.GatedDeltaNet(32, expand_v=1, head_dim=8, num_heads=2),
    "fla's Mamba2": lambda: deltas.Mamba2(hidden_size=32, head_dim=16, state_size=8),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_sees_nothing_of_what_comes_later(name: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name]()

    def out(x: Tensor) -> Tensor:
        y = layer(x)
        return (y[0] if isinstance(y, tuple) else y).detach()

    x = torch.randn(2, 100, 32)
    other = x.clone()
    other[:, 70:] += 1
    assert torch.equal(out(x)[:, :70], out(other)[:, :70])
    assert not torch.allclose(out(x)[:, 70:], out(other)[:, 70:])


def test_one_after_the_other_is_the_scan() -> None:
    x = torch.rand(3, 20)
    torch.testing.assert_close(scans.associative_scan(torch.add, x, 1, combine_mode="pointwise"), x.cumsum(1))
    back = scans.associative_scan(torch.add, x, 1, reverse=True)
    torch.testing.assert_close(back, x.flip(1).cumsum(1).flip(1))


def test_what_is_not_known_to_be_the_same_stops() -> None:
    with pytest.raises(NoStandIn, match="is_mimo"):
        scans.Mamba3(32, is_mimo=True)
    with pytest.raises(NoStandIn, match="seq_idx"):
        scans.causal_conv1d_fn(torch.zeros(1, 2, 3), torch.zeros(2, 2), seq_idx=torch.zeros(1, 3))
