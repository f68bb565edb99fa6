"""Stand-ins compute what the originals' documentation says. (What they do to a process is tested in test_running.)"""

from __future__ import annotations

import concurrent.futures
import sys
import zlib
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.scripts.inside.standins import attention, commands, files, kernels, packages, threads, triton, uses


def reference(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, left: int, right: int, causal: bool) -> torch.Tensor:
    """Attention by definition, [B, T, H, D], a loop over queries; the last query is level with the last key."""
    heads, groups, rows, columns = q.shape[2], k.shape[2], q.shape[1], k.shape[1]
    k, v = (x.repeat_interleave(heads // groups, 2) for x in (k, v))
    out = torch.zeros(*q.shape[:3], v.shape[-1])
    for i in range(rows):
        at = i + columns - rows
        last = at if causal else columns - 1 if right < 0 else min(columns - 1, at + right)
        first = 0 if left < 0 else max(0, at - left)
        weights = torch.einsum("bhd,bjhd->bhj", q[:, i], k[:, first : last + 1]) * q.shape[-1] ** -0.5
        out[:, i] = torch.einsum("bhj,bjhd->bhd", weights.softmax(-1), v[:, first : last + 1])
    return out


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 9), st.sampled_from([(4, 4), (4, 2), (6, 1)]), st.booleans(), st.integers(-1, 4), st.integers(0, 99)
)
def test_attention_by_its_definition(tokens: int, heads: tuple[int, int], causal: bool, left: int, seed: int) -> None:
    torch.manual_seed(seed)
    q, k, v = (torch.randn(2, tokens, h, 8) for h in (heads[0], heads[1], heads[1]))
    got = attention.flash_attn_func(q, k, v, causal=causal, window_size=(left, 0 if causal else -1))
    assert torch.allclose(got, reference(q, k, v, left, -1, causal), atol=1e-5)
    third = attention.flash_attn_3_func(q, k, v, None, causal, window_size=(left, 0 if causal else -1))
    assert torch.equal(got, third)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=5).filter(lambda sizes: sum(sizes) > 0), st.integers(0, 99))
def test_packed_documents_do_not_see_each_other(sizes: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    total = sum(sizes)
    q, k, v = (torch.randn(total, h, 8) for h in (4, 2, 2))
    cuts = torch.tensor([0, *torch.tensor(sizes).cumsum(0).tolist()], dtype=torch.int32)
    got = attention.flash_attn_varlen_func(q, k, v, cuts, cuts, max(sizes), max(sizes), causal=True)
    for a, b in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        if b > a:
            alone = attention.flash_attn_func(q[None, a:b], k[None, a:b], v[None, a:b], causal=True)[0]
            assert torch.equal(got[a:b], alone)


def test_an_option_without_a_stand_in_stops_the_run() -> None:
    q = torch.randn(1, 3, 2, 8)
    with pytest.raises(uses.NoStandIn, match=r"flash_attn_func\(alibi_slopes=\)"):
        attention.flash_attn_func(q, q, q, alibi_slopes=torch.ones(2))
    uses.MISSING.clear()


@pytest.mark.parametrize("family", ["sigmoid", "tanh"])
def test_capped_losses_have_their_own_gradient(family: str) -> None:
    torch.manual_seed(0)
    logits = (10 * torch.randn(5, 40)).requires_grad_()
    targets, cap, arrives = torch.randint(40, (5,)), 12.0, torch.rand(5)
    wanted = F.cross_entropy(cap * torch.tanh(logits / cap), targets, reduction="none")
    (gradient,) = torch.autograd.grad(wanted, logits, arrives)
    losses, lse, out = torch.empty(5), torch.empty(5), torch.empty(5, 40)
    given = {"logits_ptr": logits.detach(), "targets_ptr": targets, "losses_ptr": losses, "lse_ptr": lse,
             "softcap": cap, "inv_softcap": 1 / cap, "grad_logits_ptr": out, "grad_losses_ptr": arrives,
             "grad_out_ptr": arrives}  # fmt: skip
    names = {"sigmoid": "_softcapped_ce_{}_kernel", "tanh": "_fused_softcap_ce_{}_kernel"}[family]
    kernels.KNOWN[names.format("fwd")].compute(given)
    kernels.KNOWN[names.format("bwd")].compute(given)
    assert torch.allclose(losses, wanted.detach(), atol=1e-4)
    assert torch.allclose(out, gradient, atol=1e-5)
    if family == "sigmoid":  # the cap of that kernel is C higher than C tanh
        assert torch.allclose(lse, (cap * torch.tanh(logits / cap)).logsumexp(-1).detach() + cap, atol=1e-4)


def test_fused_squares_match_autograd() -> None:
    torch.manual_seed(0)
    x, w = torch.randn(6, 8), torch.randn(10, 8)
    pre = (x @ w.T).requires_grad_()
    post = F.leaky_relu(pre, 0.5).square()
    (gradient,) = torch.autograd.grad(post.sum(), pre)
    compute = kernels.KNOWN["linear_leaky_relu_square_kernel"].compute
    c, aux = torch.empty(6, 10), torch.empty(6, 10)
    compute({"a_desc": x, "b_desc": w, "c_desc": c, "aux_desc": aux, "FORWARD": True})
    assert torch.allclose(c, pre.detach(), atol=1e-5) and torch.allclose(aux, post.detach(), atol=1e-5)
    arriving, back = torch.randn(6, 4), torch.randn(10, 4)
    compute({"a_desc": arriving, "b_desc": back, "c_desc": c, "aux_desc": pre.detach(), "FORWARD": False})
    # the kernel's own backward: slope 1/2 below zero, as 2 * (1/2)^2 asks
    assert torch.allclose(c, (arriving @ back.T) * gradient, atol=1e-4)
    y, into = torch.empty(60), torch.empty(60)
    kernels.KNOWN["_leaky_relu_sq_forward_kernel"].compute({"x_ptr": pre.detach(), "y_ptr": y})
    kernels.KNOWN["_leaky_relu_sq_backward_kernel"].compute(
        {"x_ptr": pre.detach(), "grad_out_ptr": torch.ones(60), "grad_in_ptr": into}
    )
    assert torch.allclose(y, post.detach().reshape(-1)) and torch.allclose(into, gradient.reshape(-1), atol=1e-5)
    kernels.KNOWN["_fused_leaky_relu_sq_kernel"].compute({"a_desc": x, "b_desc": w, "c_desc": c, "aux_desc": aux})
    assert torch.allclose(c, gradient, atol=1e-5) and torch.allclose(aux, post.detach(), atol=1e-5)


def test_two_readings_of_one_row() -> None:
    logits, targets, hints = torch.randn(6, 11), torch.randint(11, (6,)), torch.randint(11, (6,))
    one, other = torch.empty(6), torch.empty(6)
    kernels.KNOWN["fused_log_softmax_dual_gather_kernel"].compute(
        {"logits_ptr": logits, "target_ids_ptr": targets, "hint_ids_ptr": hints, "log_p_y_out_ptr": one,
         "log_q_h_out_ptr": other, "BT": 6, "V": 11}
    )  # fmt: skip
    logs = logits.log_softmax(-1)
    assert torch.equal(one, logs[torch.arange(6), targets]) and torch.equal(other, logs[torch.arange(6), hints])


def _leaky_relu_sq_forward_kernel(x_ptr: object, y_ptr: object, n_elements: int, BLOCK_SIZE: int) -> None:
    """Not the text that is known, only the name."""


def test_a_kernel_of_known_name_and_unknown_text_is_named_as_assumed() -> None:
    uses.COUNTS.clear()
    x, y = torch.tensor([-2.0, 3.0]), torch.empty(2)
    triton.Kernel(_leaky_relu_sq_forward_kernel)[(1,)](x, y, 2, BLOCK_SIZE=2, num_warps=4)
    assert y.tolist() == [1.0, 9.0]
    (name,) = uses.COUNTS
    assert "unknown text" in name
    uses.COUNTS.clear()


def test_a_fingerprint_is_of_the_text_not_of_its_layout() -> None:
    def first(a, b):  # type: ignore[no-untyped-def]
        return a + b

    one = triton.fingerprint(first)

    def first(a, b):  # type: ignore[no-untyped-def]
        # a comment
        return (a
                + b)  # fmt: skip

    assert one and triton.fingerprint(first) == one

    def first(a, b):  # type: ignore[no-untyped-def]
        return a - b

    assert triton.fingerprint(first) != one


def test_pools_work_at_once_and_keep_exceptions() -> None:
    pool = threads.Pool(3)
    done = pool.submit(pow, 2, 5)
    assert done.done() and done.result() == 32
    failed = pool.submit(int, "x")
    with pytest.raises(ValueError):
        failed.result()
    assert list(pool.map(abs, [-1, -2])) == [1, 2]
    assert set(concurrent.futures.as_completed([done])) == {done}


def test_a_compressor_gives_back_what_it_got(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstd", sys)  # is put back after the test
    data = bytes(range(256)) * 9
    made = packages._pack("zstd", zlib.compress, zlib.decompress)
    packed = made.compress(data, 19)
    assert packed != data and made.decompress(packed) == data


def test_only_known_programs_are_answered() -> None:
    assert commands._stand_in(["nvidia-smi"], {"text": True}).stdout.startswith("NVIDIA")  # type: ignore[union-attr]
    assert commands._stand_in("nvidia-smi -q", {}).returncode == 0  # type: ignore[union-attr]
    minified = commands._stand_in(["pyminify", "-"], {"input": b"x = 1"})
    assert minified is not None and minified.stdout == b"x = 1"
    assert commands._stand_in(["gcc", "x.c"], {}) is None


def test_a_fork_has_a_tmp_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "tmp"
    shared.mkdir()
    (shared / "counter").write_bytes(b"1")
    monkeypatch.setitem(files._moved, "tmp", str(shared))
    monkeypatch.setitem(files._moved, "stay", ())
    files.apart(3)
    own = Path(files._own("/tmp/counter"))
    assert own.read_bytes() == b"1"
    own.write_bytes(b"2")
    assert (shared / "counter").read_bytes() == b"1"


def test_flash_attention_3_gives_two_values_to_who_takes_two() -> None:
    q = torch.randn(1, 5, 2, 4)
    out, lse = attention.flash_attn_3_func(q, q, q, causal=True)
    alone = attention.flash_attn_3_func(q, q, q, causal=True)
    assert lse is None and isinstance(alone, torch.Tensor) and torch.equal(out, alone)
    assert torch.equal(attention.flash_attn_3_func(q, q, q, causal=True)[:, :1], alone[:, :1])
